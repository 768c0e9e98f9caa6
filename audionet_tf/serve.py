r"""Serves a student over HTTP: predictions as in TensorFlow Serving, captions for uploads, and a page for both.

  python -m audionet_tf.serve
  python -m audionet_tf.serve --model=runs/clips/export --port=8501

The first line serves the starter, a student in the package that knows ten kinds of sound and calls all others
`unknown`; the second your own. Then http://127.0.0.1:8501 is a page that captions a video, a sound file or the
microphone, and

  curl -F file=@clip.mp4 -H 'Accept: text/vtt' http://127.0.0.1:8501/v1/captions
  curl -d '{"instances": [[0.1, 0.2, ...]]}' http://127.0.0.1:8501/v1/models/audionet:predict

caption a file and query the student. docs/serving.md has the details, and how TensorFlow Serving takes the same export.
Only this machine can reach the service, unless --host is given; there is no login. It needs the extra `serve`.
"""

from absl import flags

from audionet_tf.core import cli, system
from audionet_tf.models import starter
from audionet_tf.service import settings
from audionet_tf.teachers import student_words

MODEL = flags.DEFINE_string(
  'model', None, 'A run, an export (a version or the folder of versions), or a student.keras; default: the starter.'
)
HEAD = flags.DEFINE_string('head', None, "Of several heads, the teacher's name of the one to use; default: the first.")
CLASSES = flags.DEFINE_string(
  'classes',
  None,
  'For a student of embeddings: classes in your own words, one per line, or a .npz table of their vectors.',
)
NAME = flags.DEFINE_string('name', 'audionet', 'Of the model in addresses: /v1/models/NAME.')
THRESHOLD = flags.DEFINE_float(
  'threshold', 0.2, 'Score that a class must reach; a request may give another.', lower_bound=0.05, upper_bound=1
)
HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to bind to; 0.0.0.0 for every network of this machine.')
PORT = flags.DEFINE_integer('port', 8501, 'Port to bind to; 0 for any that is free.', lower_bound=0, upper_bound=65535)
ALLOWED_HOST = flags.DEFINE_list('allowed_host', [], 'Host names of the service, besides those of this machine.')
ALLOWED_ORIGIN = flags.DEFINE_list(
  'allowed_origin', [], 'Sites whose pages may send requests, such as https://example.org.'
)
MAX_UPLOAD_MB = flags.DEFINE_integer('max_upload_mb', 512, 'Largest upload, MiB.', lower_bound=1, upper_bound=1 << 16)
MAX_MINUTES = flags.DEFINE_float(
  'max_minutes', 60, 'Longest sound in an upload.', lower_bound=0.01, upper_bound=24 * 60
)
DECODE_SECONDS = flags.DEFINE_float(
  'decode_seconds', 120, 'Time limit for decoding an upload.', lower_bound=1, upper_bound=24 * 3600
)
CAPTIONS_AT_ONCE = flags.DEFINE_integer(
  'captions_at_once', 2, 'Files captioned at a time; four times as many may wait.', lower_bound=1, upper_bound=64
)
KEEP_MINUTES = flags.DEFINE_float(
  'keep_minutes', 60, 'How long captions can be fetched again.', lower_bound=0.1, upper_bound=7 * 24 * 60
)
ALLOW_DOWNLOAD = flags.DEFINE_bool(
  'allow_download', False, 'Allow downloading videos by address, with yt-dlp (extra download).'
)
DOWNLOAD_HOSTS = flags.DEFINE_list('download_hosts', ['youtube.com'], 'Hosts whose videos may be downloaded.')

TOPICS = {'model': 'Student', 'host': 'Network', 'max_upload_mb': 'Limits', 'allow_download': 'Downloads'}
EXTRA = ('fastapi', 'orjson', 'prometheus_client', 'uvicorn')


def check_arguments(arguments):
  """Path of the student. Raises UserError for mistakes that show before anything is loaded."""
  cli.require(not arguments, f'serve takes flags only, got {" ".join(arguments)[:100]!r}')
  settings.check_allowed_clients(ALLOWED_HOST.value, ALLOWED_ORIGIN.value)
  valid = NAME.value and all(c.isalnum() or c in '-_.' for c in NAME.value)
  cli.require(valid, f'name is {NAME.value!r}, allowed are letters, digits, -, _ and .')
  cli.require_installed(EXTRA, 'serve')
  return student_words.find(MODEL.value, CLASSES.value)


def limits():
  """The settings.Limits of the flags."""
  return settings.Limits(
    upload_bytes=MAX_UPLOAD_MB.value << 20,
    sound_seconds=60 * MAX_MINUTES.value,
    decode_seconds=DECODE_SECONDS.value,
    captions_at_once=CAPTIONS_AT_ONCE.value,
    captions_waiting=4 * CAPTIONS_AT_ONCE.value,
    uploads_bytes=(MAX_UPLOAD_MB.value << 20) * 5 * CAPTIONS_AT_ONCE.value,
    results_seconds=60 * KEEP_MINUTES.value,
  )


def main(argv):
  model = check_arguments(argv[1:])
  system.keep_freed_memory()
  cli.import_tensorflow()
  from audionet_tf.service import app as service_app
  from audionet_tf.service import server
  from audionet_tf.service.captions import jobs

  jobs.check_temporary_folder()
  fetch, hosts = None, ()
  if ALLOW_DOWNLOAD.value:
    from audionet_tf.service.captions import video_download

    hosts = video_download.checked_hosts(DOWNLOAD_HOSTS.value)
    fetch = video_download.fetcher(hosts, limits().upload_bytes, DECODE_SECONDS.value)
  bound_socket = server.bind_socket(HOST.value, PORT.value)
  served, text_student = student_words.load_with_texts(model, CLASSES.value)
  service = service_app.make(served, NAME.value, limits(), THRESHOLD.value, fetch, hosts, HEAD.value, text_student)
  names = settings.allowed_host_names(HOST.value, ALLOWED_HOST.value)
  app = service_app.application(service, names, (service_app.EXTENSION_ORIGIN, *ALLOWED_ORIGIN.value))
  what = 'the starter' if starter.is_starter(served.path) else f'{served.settings.student} of {served.path}'
  return server.run(app, bound_socket, f'{service.name}: {what}', service.work.stop)


def run():
  cli.run(main, TOPICS)


if __name__ == '__main__':
  run()
