"""Models of KerasHub that put pictures and texts into one space.

CLIP: Radford et al. 2021. SigLIP: Zhai et al. 2023.

The only module that imports keras_hub, which needs TensorFlow 2.20 or newer. A preset is a name that KerasHub knows,
downloaded once, or a folder that its `save_to_preset` wrote, backbone and preprocessor both.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tqdm

from audionet_tf.core import digests, text
from audionet_tf.core.errors import UserError, missing_extra
from audionet_tf.teachers import image_classifier, teacher_config

TEXTS_AT_ONCE = 64
CONVERTER_SETTINGS = (
  *('image_size', 'scale', 'offset', 'interpolation', 'antialias', 'crop_to_aspect_ratio', 'pad_to_aspect_ratio'),
)


@dataclasses.dataclass(frozen=True)
class PictureTextModel:
  """A frozen model of pictures and texts.

  Attributes:
    embed_pictures: pictures f32 [N, H, W, 3] in 0..255, of any size -> f32 [N, width], each of length 1.
    embed_texts: list of n str -> f32 [n, width] (NumPy), each of length 1.
    tokens: list of n str -> i32 [n, length] (NumPy), what `embed_texts` embeds.
    scale: float, of the cosine in the model's logits: 1 / its temperature.
    width: of the embeddings.
    digest: sha256 of the weights, the preparation of pictures and the activation functions, hex.
  """

  embed_pictures: Callable
  embed_texts: Callable
  tokens: Callable
  scale: float
  width: int
  digest: str


def load(source, dtype='float32'):
  """Loads the PictureTextModel of a source such as 'clip:clip_vit_base_patch32' or 'clip:./folder'.

  Args:
    source: teacher_config.PICTURE_TEXT and the preset.
    dtype: 'float32', or 'bfloat16' for the layers of the model; embeddings are float32.

  Raises:
    UserError: KerasHub is not installed, the preset is not known, cannot be downloaded, or is damaged.
  """
  teacher_config.check_preset(source)
  backbone, preprocessor = load_preset(teacher_config.preset_of(source), dtype)
  backbone.trainable = False
  converter, preprocessor.image_converter = preprocessor.image_converter, None
  if converter is None or converter.image_size is None:
    raise UserError(f'{source}: has no size of pictures (image_converter.json is missing, or lacks it)')
  image_classifier.checked_size(source, [None, *converter.image_size, 3])
  head = getattr(backbone, 'clip_head', None) or backbone.siglip_head

  def embed_pictures(pictures):
    return unit(backbone.get_vision_embeddings(converter(pictures)))

  def tokens(prompts):
    return np.asarray(preprocessor({'images': None, 'prompts': prompts})['token_ids'], np.int32)

  def embed_texts(prompts):
    parts = [prompts[start : start + TEXTS_AT_ONCE] for start in range(0, len(prompts), TEXTS_AT_ONCE)]
    shown = tqdm.tqdm(parts, desc='embedding texts', unit=f' x {TEXTS_AT_ONCE}', delay=2)
    return np.concatenate([unit(backbone.get_text_embeddings(tokens(part))).numpy() for part in shown])

  functions = [encoder.get_config().get('intermediate_activation') for encoder in encoders(backbone)]
  prepared = {name: converter.get_config().get(name) for name in CONVERTER_SETTINGS}
  identity = [digests.of_weights(backbone), list(map(str, functions)), prepared]
  try:
    scale, width = float(np.exp(head.logit_scale.numpy())), embed_texts(['a']).shape[1]
  except Exception as error:  # the tokenizer and the layers come from a file
    raise UserError(f'{source}: cannot embed a text ({text.brief(error)})') from error
  return PictureTextModel(embed_pictures, embed_texts, tokens, scale, width, digests.of_text(json.dumps(identity)))


def encoders(backbone):
  """The two encoders of a backbone."""
  return backbone.vision_encoder, backbone.text_encoder


def unit(vectors):
  """Vectors [N, width] as f32, each of length 1."""
  return tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1)


def load_preset(preset, dtype):
  """(backbone, preprocessor) of a preset."""
  try:
    import keras_hub
  except ImportError as error:
    raise missing_extra(f'clip:{preset}', f'keras-hub ({text.brief(error)})', 'clip') from None
  families = {name: getattr(keras_hub.models, name) for name in teacher_config.PICTURE_TEXT_MODELS}
  folder = pathlib.Path(preset)
  if not folder.is_dir():
    names = {name: family for family in families.values() for name in family.presets}
    if preset not in names:
      known = ', '.join(sorted(names))
      raise UserError(f'clip:{preset}: no such preset; known are {known}; or a folder: clip:./folder')
  else:
    preset = f'{folder.absolute()}'  # a relative path could be the name of a preset
  kind = 'mixed_bfloat16' if dtype == 'bfloat16' else dtype
  try:
    backbone = keras_hub.models.Backbone.from_preset(preset, dtype=kind)
    family = type(backbone).__name__
    if family not in families:
      raise UserError(f'clip:{preset}: holds a {family}; allowed is {" or ".join(families)}')
    preprocessor = getattr(keras_hub.models, teacher_config.PICTURE_TEXT_MODELS[family]).from_preset(preset)
  except UserError:
    raise
  except Exception as error:  # KerasHub passes on what Keras, Kaggle's client and its tokenizers raise
    if folder.is_dir():
      raise UserError(f'clip:{folder}: not a readable preset ({text.brief(error)})') from error
    raise UserError(
      f'clip:{preset} cannot be downloaded ({text.brief(error)}); connect once, or give a folder that save_to_preset '
      'wrote: clip:./folder'
    ) from error
  return backbone, preprocessor


def class_vectors(model, prompts):
  """f32 [classes, width] (NumPy), each of length 1: the mean of the embeddings of each class's prompts.

  Source: Radford et al. 2021, section 3.1.4: the mean of normalized embeddings, normalized.

  Args:
    model: PictureTextModel.
    prompts: dict of class name to list of prompts.
  """
  rows = model.embed_texts([prompt for texts in prompts.values() for prompt in texts])
  ends = np.cumsum([len(texts) for texts in prompts.values()])
  means = np.stack([part.mean(0) for part in np.split(rows, ends[:-1])])
  return means / np.linalg.norm(means, axis=-1, keepdims=True)


def classifier(source, prompts, temperature=None, dtype='float32'):
  """The image_classifier.PictureModel whose logits are cosines of a picture and each class, over the temperature.

  Args:
    source: as for `load`.
    prompts: dict of class name to list of prompts.
    temperature: above 0; None for the model's own.
    dtype: as for `load`.

  Raises:
    UserError: as `load`.
  """
  model = load(source, dtype)
  vectors = class_vectors(model, prompts)
  scale = model.scale if temperature is None else 1 / temperature

  def outputs(pictures):
    return scale * tf.matmul(model.embed_pictures(pictures), vectors, transpose_b=True)  # [N, classes]

  # Of whole numbers, which cover the tokenizer too: embeddings differ in their last bits between processors.
  tokens = model.tokens([prompt for texts in prompts.values() for prompt in texts])
  identity = [model.digest, list(prompts.values()), digests.of_array(tokens), temperature]
  digest = digests.of_text(json.dumps(identity))
  return image_classifier.PictureModel(outputs, None, len(prompts), digest, kind='logits')
