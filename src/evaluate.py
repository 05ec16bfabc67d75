"""Look at what a network has learned: python src/evaluate.py run=RUN_DIR."""

from pathlib import Path

from omegaconf import DictConfig

from fewlabels.application import application
from fewlabels.config import EVALUATE


@application(EVALUATE)
def main(cfg: DictConfig) -> Path:
    """Evaluate one run or one checkpoint, or compare several runs."""
    from omegaconf import OmegaConf

    from fewlabels.comparison import compare
    from fewlabels.config import run_dir
    from fewlabels.evaluation import evaluate

    directory = Path(run_dir())
    settings = OmegaConf.to_container(cfg, resolve=True)
    (compare if isinstance(settings["run"], list) else evaluate)(settings, directory)
    return directory


if __name__ == "__main__":
    main()
