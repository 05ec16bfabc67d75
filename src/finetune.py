"""Train a classifier on labelled images: python src/finetune.py data=flowers checkpoint=RUN_DIR."""

from fewlabels.cli.commands import run

if __name__ == "__main__":
    run("finetune")
