"""Hydra looks for configurations in folders of one's own too: see `harness.places`."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class OwnFolders(SearchPathPlugin):
    """Adds the folders that `--config-dir` gave."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append them, behind the project's own."""
        from harness.places import own_folders

        for folder in own_folders():
            search_path.append("harness-own", f"file://{folder}")
