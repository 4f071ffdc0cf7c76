"""A git repository made and committed to by DVC's own git library, so that no git is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def commit_files(folder: Path, files: Sequence[str], message: str) -> bool:
    """Commit files of a folder, making its git repository at the first time.

    Args:
        folder: The folder.
        files: Every file that the commit is to hold, relative to it; others that were committed
            before and are gone now go from it.
        message: What the commit says.

    Returns:
        Whether there was anything to commit.
    """
    from dulwich import porcelain
    from dulwich.repo import Repo

    folder = folder.absolute()  # dulwich takes relative paths as within the repository
    if not (folder / ".git").is_dir():
        Repo.init(str(folder)).close()
    with Repo(str(folder)) as repo:
        known = [path.decode() for path in repo.open_index()]
        gone = [path for path in known if not (folder / path).exists()]
        if gone:
            porcelain.remove(repo, paths=[str(folder / path) for path in gone], cached=True)
        porcelain.add(repo, paths=[str(folder / path) for path in files])
        if not any(porcelain.status(repo, untracked_files="no").staged.values()):
            return False
        porcelain.commit(repo, message=message.encode(), author=_AUTHOR, committer=_AUTHOR)
    return True


_AUTHOR = b"sparring <sparring@localhost>"
