"""The JavaScript packages of the page without a service: which files of them, and how they are fetched and verified.

They run in the browsers of those who open the page, so versions and content are fixed here: a package whose SHA-512
differs is refused, wherever it comes from.
"""

import base64
import dataclasses
import hashlib
import io
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError

FETCH_SECONDS = 120
MOST_BYTES = 1 << 26  # of a package


@dataclasses.dataclass(frozen=True)
class Package:
  """A package at npm.

  Attributes:
    name, version: at npm.
    integrity: SHA-512 of its archive in base64, as in npm's lock files.
    license: as SPDX spells it.
    members: dict of file in the package to its name in the folder.
  """

  name: str
  version: str
  integrity: str
  license: str
  members: dict

  @property
  def archive(self):
    """Name that `npm pack` gives the package."""
    return f'{self.name.removeprefix("@").replace("/", "-")}-{self.version}.tgz'


# The wasm is the one that runs in every browser: the others need relaxed SIMD, threads or promise integration.
WASM = 'litert_wasm_compat_internal'
PACKAGES = (
  Package(
    '@litertjs/core',
    '2.5.3',
    'PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==',
    'Apache-2.0',
    {'dist/index.js': 'litert.js', f'wasm/{WASM}.js': f'{WASM}.js', f'wasm/{WASM}.wasm': f'{WASM}.wasm'},
  ),
  Package(
    '@litertjs/wasm-utils',
    '2.5.3',
    '4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==',
    'Apache-2.0',
    {'dist/index.js': 'wasm-utils.js'},
  ),
  Package(
    'mediabunny',
    '1.61.0',
    'WciPOYwKZwgYkoBKcEK6JzzIf+w5whypPzFdOihOylZ/5Qv19FmNfRnTcaprH+jD136YpEASU30Eb6VNCJiz3A==',
    'MPL-2.0',
    {'dist/bundles/mediabunny.min.mjs': 'mediabunny.js', 'LICENSE': 'MPL-2.0.txt'},
  ),
)
# Browsers resolve paths only; packages name each other.
IMPORTS = {b'"@litertjs/wasm-utils"': b'"./wasm-utils.js"'}
VENDOR = 'vendor'  # the folder of the packages' files
LICENSES_FILE = f'{VENDOR}/LICENSES.txt'
ELSEWHERE = 'run "npm pack" for each where there is a network, and pass the folder as --web_packages'


def write(folder, archives=None):
  """Writes the files of all packages into `folder/vendor`, which it makes.

  Args:
    folder: pathlib.Path, exists.
    archives: pathlib.Path of the folder in which `npm pack` has put the packages; None has npm fetch them.

  Raises:
    UserError: a package is missing, cannot be fetched, or is another one.
  """
  (folder / VENDOR).mkdir()
  with tempfile.TemporaryDirectory() as fetched:
    for package in PACKAGES:
      source = pathlib.Path(archives or fetched)
      if archives is None:
        fetch(package, source)
      content = files.read_bytes(source / package.archive, MOST_BYTES, f'what npm pack {spec(package)} writes')
      for name, member in members(package, content).items():
        (folder / VENDOR / name).write_bytes(member)
  lines = [f'{package.name} {package.version}, {package.license}, {source_of(package)}\n' for package in PACKAGES]
  (folder / LICENSES_FILE).write_text(''.join(lines))


def check(archives):
  """UserError where `write` would find no packages: a file is missing, or npm is. `archives`: as there."""
  if archives is None:
    npm()
  for package in PACKAGES if archives else ():
    if not (pathlib.Path(archives) / package.archive).is_file():
      raise UserError(f'{pathlib.Path(archives) / package.archive}: no such file; npm pack {spec(package)} writes it')


def npm():
  """Path of npm. UserError: there is none."""
  path = shutil.which('npm')
  if path is None:
    raise UserError(
      f'npm, which fetches {text.first_of([spec(package) for package in PACKAGES])}, is not installed; {ELSEWHERE}'
    )
  return path


def spec(package):
  return f'{package.name}@{package.version}'


def source_of(package):
  """Where the source of a package is to be had, for its licence."""
  return f'source: npm pack {spec(package)}'


def fetch(package, folder):
  """Has npm fetch a package into a folder. UserError: there is no npm, or it fails."""
  print(f'fetching {spec(package)} ...', file=sys.stderr, flush=True)
  command = [npm(), 'pack', spec(package), f'--pack-destination={folder}', '--ignore-scripts', '--silent']
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, cwd=folder)
    problem = '' if done.returncode == 0 else f'exit code {done.returncode}: {reason(done.stderr)}'
  except subprocess.TimeoutExpired:
    problem = f'not within {FETCH_SECONDS} s'
  if problem:
    raise UserError(f'npm cannot fetch {spec(package)} ({problem}); {ELSEWHERE}')


def reason(printed):
  """The first line of what npm says about an error, without its prefix."""
  lines = [line.removeprefix('npm error ').strip() for line in printed.splitlines()]
  return text.printable(next(filter(None, lines), 'no message'))[:160]


def members(package, content):
  """dict of name to bytes, the files of a package. UserError unless `content` is its archive, to the bit."""
  if base64.b64encode(hashlib.sha512(content).digest()).decode() != package.integrity:
    raise UserError(f'{package.archive} is not the {spec(package)} that this version expects: its SHA-512 differs')
  found = {}
  with tarfile.open(fileobj=io.BytesIO(content), mode='r:gz') as archive:
    for member, name in package.members.items():
      body = archive.extractfile(f'package/{member}').read()
      for imported, path in IMPORTS.items():
        body = body.replace(imported, path) if name.endswith('.js') else body
      found[name] = body
  return found
