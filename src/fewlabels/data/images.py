"""Any folder of the user's own images, nested or flat, with or without class folders."""

from fewlabels.core.errors import UserError
from fewlabels.data.base import ImageDataModule
from fewlabels.data.image_store.store import Source


class Images(ImageDataModule):
    """The user's own images. `root` is required; images directly under it are unlabelled."""

    name = "images"

    def find_source(self) -> Source:
        """Require `root`."""
        if self.root is None:
            raise UserError(
                "data=images needs data.root=FOLDER, the folder that contains your images (its subfolders are classes)."
            )
        return super().find_source()
