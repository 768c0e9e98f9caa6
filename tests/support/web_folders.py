"""The page without a service, in a folder; skipped, loudly, where npm cannot fetch its packages."""

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.service import npm_packages, web_folder


def packages(tmp_path_factory):
  """Folder with the packages, fetched once by a process of tests."""
  folder = tmp_path_factory.getbasetemp() / 'npm_packages'
  failure = folder / 'failure.txt'
  if not folder.exists():
    folder.mkdir()
    try:
      for package in npm_packages.PACKAGES:
        npm_packages.fetch(package, folder)
    except UserError as error:
      failure.write_text(str(error))
  if failure.exists():
    pytest.skip(f'!!!! NOT TESTED: the page without a service, as {failure.read_text()}')
  return folder


def write(student, tmp_path_factory, **options):
  """Folder of the page with a loader.LoadedExport. `options`: of web_folder.write."""
  folder = tmp_path_factory.mktemp('page') / 'site'
  fetched = packages(tmp_path_factory)
  web_folder.write(student.module, student.settings, folder, packages=fetched, **options)
  return folder
