"""Suggest which images to label next: python src/suggest.py run=imagenet data.root=FOLDER n=50."""

from fewlabels.cli.commands import run

if __name__ == "__main__":
    run("suggest")
