"""Examine a folder of images: python src/doctor.py data.root=FOLDER."""

from fewlabels.cli.commands import run

if __name__ == "__main__":
    run("doctor")
