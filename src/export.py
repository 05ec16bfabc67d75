"""Write a trained backbone in a form that other programs load: python src/export.py run=RUN_DIR format=onnx."""

from fewlabels.cli.commands import run

if __name__ == "__main__":
    run("export")
