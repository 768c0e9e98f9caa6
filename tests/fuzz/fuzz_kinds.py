"""Every kind of file that users bring: how many are mutated, how a good one is made, how the product opens it."""

import kinds_of_data
import kinds_of_models
import kinds_of_tables

KINDS = kinds_of_data.KINDS | kinds_of_models.KINDS | kinds_of_tables.KINDS
