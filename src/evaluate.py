"""Evaluate a trained backbone: python src/evaluate.py run=RUN_DIR."""

from fewlabels.cli.commands import evaluate

if __name__ == "__main__":
    evaluate()
