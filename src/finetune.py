"""Learn classes from the labels that there are, from a pretrained network or from scratch: python src/finetune.py."""

from pathlib import Path

from omegaconf import DictConfig

from fewlabels.application import application
from fewlabels.config import FINETUNE


@application(FINETUNE)
def main(cfg: DictConfig) -> Path:
    """Run one job, on as many processes as the trainer asks for."""
    from fewlabels.launch import launch

    return launch("fewlabels.experiment:train", cfg)


if __name__ == "__main__":
    main()
