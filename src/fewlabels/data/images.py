"""Any folder of the user's own images, nested or flat, with class folders or without."""

from fewlabels.data.base import ImageDataModule
from fewlabels.data.store import Source
from fewlabels.errors import UserError


class Images(ImageDataModule):
    """The user's own images; `root` is required. Images directly under it, or all if it is flat, are unlabelled."""

    name = "images"

    def find(self) -> Source:
        """Take the folder that was given."""
        if self.root is None:
            raise UserError(
                "data=images needs data.root=FOLDER, the folder that holds your images (subfolders are classes)."
            )
        return super().find()
