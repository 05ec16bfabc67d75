"""List what is in the cache folder, and remove what is not used: python src/cache.py clean=unused."""

from fewlabels.cli.commands import run

if __name__ == "__main__":
    run("cache")
