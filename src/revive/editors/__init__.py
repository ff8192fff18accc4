"""Editors propose updates; the steps they share have one owner each."""
