"""Serves a student over HTTP: TensorFlow Serving's interface, captions for uploads, and a page to use them by hand.

  python -m audionet_tf.serve --model=runs/clips/export --port=8501

Then http://127.0.0.1:8501 is a page that takes a video or a sound, or listens to the microphone, and

  curl -F file=@clip.mp4 -H 'Accept: text/vtt' http://127.0.0.1:8501/v1/captions
  curl -d '{"instances": [[0.1, 0.2, ...]]}' http://127.0.0.1:8501/v1/models/audionet:predict

caption a file and ask the student. docs/serving.md tells the rest, and how TensorFlow Serving takes the same export.
Only this machine can reach the service, unless --host says otherwise; there is no login. Needs the extra `serve`.
"""

from absl import flags

from audionet_tf.core import cli, system
from audionet_tf.core.errors import missing_extra
from audionet_tf.service import settings

flags.DEFINE_string('model', None, 'a run, or a SavedModel of audionet_tf.export: a version or the folder of versions')
flags.DEFINE_string('name', 'audionet', 'of the model in addresses: /v1/models/NAME')
flags.DEFINE_string('host', '127.0.0.1', 'address to listen at; 0.0.0.0 for every network of this machine')
flags.DEFINE_integer('port', 8501, 'to listen at; 0 for any that is free')
flags.DEFINE_float('threshold', 0.2, 'probability from which on a class is named, where a request does not say')
flags.DEFINE_integer('max_upload_mb', 512, 'largest upload, MiB')
flags.DEFINE_float('max_minutes', 60, 'longest sound in an upload')
flags.DEFINE_float('decode_seconds', 120, 'time for the decoding of an upload')
flags.DEFINE_integer('captions_at_once', 2, 'files listened to at a time; four times as many may wait')
flags.DEFINE_float('keep_minutes', 60, 'how long captions can be fetched again')
flags.DEFINE_list('allowed_host', [], 'names under which the service may be asked, beside those of this machine')
flags.DEFINE_list('allowed_origin', [], 'sites whose pages may ask, such as https://example.org')
flags.DEFINE_bool('allow_download', False, 'fetch videos by their address, with yt-dlp (extra download)')
flags.DEFINE_list('download_hosts', ['youtube.com'], 'whose videos may be fetched')

RANGES = {
  'port': (0, 65535),
  'threshold': (0.05, 1),
  'max_upload_mb': (1, 1 << 16),
  'max_minutes': (0.01, 24 * 60),
  'decode_seconds': (1, 24 * 3600),
  'captions_at_once': (1, 64),
  'keep_minutes': (0.1, 7 * 24 * 60),
}


def check_arguments(values, arguments):
  """Raises UserError for what can be known to be wrong before anything is loaded."""
  cli.require(values['model'], 'serve needs --model')
  cli.require(not arguments, f'serve takes flags only, got {" ".join(arguments)[:100]!r}')
  for name, (low, high) in RANGES.items():
    cli.require(low <= values[name] <= high, f'{name} is {values[name]}, allowed is {low} to {high}')
  settings.check_askers(values['allowed_host'], values['allowed_origin'])
  fine = values['name'] and all(c.isalnum() or c in '-_.' for c in values['name'])
  cli.require(fine, f'name is {values["name"]!r}, allowed are letters, digits, -, _ and .')


def limits_of(values):
  """settings.Limits from the flags."""
  return settings.Limits(
    upload_bytes=values['max_upload_mb'] << 20,
    sound_seconds=60 * values['max_minutes'],
    decode_seconds=values['decode_seconds'],
    captions_at_once=values['captions_at_once'],
    captions_waiting=4 * values['captions_at_once'],
    results_seconds=60 * values['keep_minutes'],
  )


def main(argv):
  values = cli.flag_values(__name__)
  check_arguments(values, argv[1:])
  system.keep_freed_memory()
  with cli.pretend_missing('sklearn', 'matplotlib'):
    from audionet_tf.saved_model import loader
  try:
    from audionet_tf.service import app as service_app
    from audionet_tf.service import server
  except ModuleNotFoundError as error:
    raise missing_extra('serving', error.name, 'serve') from None
  fetch, hosts = None, ()
  if values['allow_download']:
    from audionet_tf.service import video_download

    hosts = video_download.checked_hosts(values['download_hosts'])
    fetch = video_download.fetcher(hosts, limits_of(values).upload_bytes, values['decode_seconds'])
  listening = server.bound(values['host'], values['port'])
  served = loader.load(values['model'])
  made = service_app.make(served, values['name'], limits_of(values), values['threshold'], fetch, hosts)
  names = settings.names_of(values['host'], values['allowed_host'])
  app = service_app.application(made, names, (service_app.EXTENSION_ORIGIN, *values['allowed_origin']))
  return server.run(app, listening, f'{made.name}: {served.settings.student} of {served.path}')


def run():
  cli.run(main)


if __name__ == '__main__':
  run()
