"""Pretrain a backbone on unlabelled images: python src/pretrain.py method=simclr data=plankton."""

from fewlabels.cli.commands import run

if __name__ == "__main__":
    run("pretrain")
