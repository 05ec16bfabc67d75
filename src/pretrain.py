"""Pretrain a backbone on unlabelled images: python src/pretrain.py method=simclr data=plankton."""

from fewlabels.cli.commands import pretrain

if __name__ == "__main__":
    pretrain()
