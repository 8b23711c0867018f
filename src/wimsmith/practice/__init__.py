"""A Windows to practise on: generated images and matching updates, with nothing of Microsoft's.

    root = practice_root(folder)
    build_image(ImageSpec(indexes=2), folder / "practice.wim")
    build_update(preset("rollup"), folder / "rollup.msu")

Names, hashes and package facts are computed by code of its own, so that tests compare the engine
with something that it did not write itself.
"""
