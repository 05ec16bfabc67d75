"""Images and labels from an export of EcoTaxa: python src/import_ecotaxa.py export=FILE.zip to=FOLDER."""

from fewlabels.cli.commands import run

if __name__ == "__main__":
    run("import_ecotaxa")
