"""Evaluate a trained backbone: python src/evaluate.py run=RUN_DIR."""

from fewlabels.cli.commands import run

if __name__ == "__main__":
    run("evaluate")
