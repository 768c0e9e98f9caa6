from audionet_tf.models import registry, student_names


def test_every_student_has_its_line():
  assert student_names.STUDENTS.keys() == registry.STUDENTS.keys()
