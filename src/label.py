"""Label images on a page in the browser: python src/label.py run=imagenet data.root=FOLDER."""

from fewlabels.cli.commands import run

if __name__ == "__main__":
    run("label")
