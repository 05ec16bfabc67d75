"""Pretrain a backbone on unlabelled data: python src/pretrain.py method=simclr data=plankton."""

from pathlib import Path

from omegaconf import DictConfig

from fewlabels.application import application
from fewlabels.config import PRETRAIN


@application(PRETRAIN)
def main(cfg: DictConfig) -> Path:
    """Run one job, on as many processes as the trainer asks for."""
    from fewlabels.launch import launch

    return launch("fewlabels.experiment:train", cfg)


if __name__ == "__main__":
    main()
