"""Classes and counts from a few labels: python src/predict.py run=imagenet data.root=FOLDER data.labels=labels.csv."""

from fewlabels.cli.commands import run

if __name__ == "__main__":
    run("predict")
