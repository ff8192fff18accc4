"""Which blocks of the lab model to edit: what each writes, and what a fresh batch does to it.

    python recipes/layers.py

First, for every block, how much of the residual its MLP writes at the subject's last token, and how
many targets converge there. Then, for several sets of blocks, one fresh batch of MEMIT at one
lambda: the mean shift that targets need, the score right after, and how long the update is beside
the weight it is added to, block by block.
"""

import argparse
from collections.abc import Sequence

import torch

from revive.assembly.build import Built, build, load_from_spec
from revive.data.edits import Edit
from revive.data.order import batches, order_edits
from revive.editors.target_editor import TargetEditor, encode_batch
from revive.io.cache import cache_folder
from revive.models.family import family_of
from revive.models.loading import LoadedModel
from revive.probes.edits import score_edits
from revive.spec.edit_stream import read_edits
from revive.spec.parsing import parse_spec, read_model_config, resolve
from revive.spec.schema import RunSpec

SETS = ((0, 1, 2), (2, 3, 4), (3, 4, 5), (4, 5, 6), (0, 4, 5), (0, 5))


def spec_of(layers: Sequence[int], ridge: float, edits: int) -> RunSpec:
    """One unguarded batch."""
    data: dict[str, object] = {
        "model": {"name": "lab", "precision": "fast"},
        "edits": {"path": "lab", "limit": edits, "batch_size": edits, "seed": 0},
        "editor": {"name": "memit", "layers": list(layers), "ridge": ridge},
        "threads": 1,
    }
    return resolve(parse_spec(data, "layers"), read_model_config("lab"))


def prepared(spec: RunSpec) -> tuple[Built, tuple[Edit, ...]]:
    """The engine on the unedited model, and the batch."""
    edits = order_edits(read_edits(spec).edits, spec.edits.order, spec.edits.seed)
    batch = batches(edits, spec.edits.batch_size)[0]
    return build(spec, load_from_spec(spec.model), batch, cache=cache_folder()), batch


def written(built: Built, batch: Sequence[Edit]) -> list[float]:
    """||MLP output|| / ||block output|| at the subject's last token, mean over edits, by block."""
    loaded: LoadedModel = built.loaded
    blocks = family_of(loaded.model).blocks_of(loaded.model)
    seen: dict[tuple[str, int], torch.Tensor] = {}

    def keep(name: str, index: int):
        def hook(_module: object, _args: object, output: object) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            assert isinstance(tensor, torch.Tensor)
            seen[name, index] = tensor

        return hook

    handles = [
        module.register_forward_hook(keep(name, index))
        for index, block in enumerate(blocks)
        for name, module in (("mlp", block.get_submodule("mlp")), ("block", block))
    ]
    shares = torch.zeros(len(blocks), dtype=torch.float64)
    rows, _ = encode_batch(batch, built.engine.context)
    for row in (edit.rewrite[0] for edit in rows.values()):
        with torch.no_grad():
            loaded.model(input_ids=torch.tensor([row.input_ids]))
        for index in range(len(blocks)):
            mlp, out = (seen[name, index][0, row.lookup].double() for name in ("mlp", "block"))
            shares[index] += (mlp.norm() / out.norm()).item() / len(rows)
    for handle in handles:
        handle.remove()
    return shares.tolist()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ridge", type=float, default=1000.0)
    parser.add_argument("--edits", type=int, default=48)
    options = parser.parse_args()
    built, batch = prepared(spec_of((0,), options.ridge, options.edits))
    print("| block | written by its MLP | targets that converge there |")
    print("|---|---|---|")
    for layer, share in enumerate(written(built, batch)):
        one, _ = prepared(spec_of((layer,), options.ridge, options.edits))
        assert isinstance(one.engine.editor, TargetEditor)
        notes = one.engine.editor.solve_batch(batch, one.engine.context).notes
        print(f"| {layer} | {share:.2f} | {notes['target_solved']:.2f} |", flush=True)
    print("\n| blocks | shift over residual | score | update over weight |")
    print("|---|---|---|---|")
    for layers in SETS:
        built, batch = prepared(spec_of(layers, options.ridge, options.edits))
        result = built.engine.apply(batch)
        score = score_edits(built.loaded.model, built.loaded.tokenizer, batch).metrics()["score"]
        sizes = ", ".join(
            f"{update.fro() / built.engine.ledger.original(key).norm().item():.1f}"
            for key, update in result.updates.items()
        )
        shift = result.outcome.notes["target_shift"]
        print(f"| {layers} | {shift:.2f} | {score:.2f} | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
