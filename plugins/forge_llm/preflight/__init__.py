"""Looking ahead: what can be known of training, export and proof before a GPU is asked for.

Each module serves the `preflight` methods of some step types. They hand small stand-ins to one another: a model is its
config and tokenizer, token ids are those of sample rows, a GGUF file is one of two random layers under the whole
vocabulary. `ASKED` goes along from the token ids to the file, so that prompts are compared on real rows.
"""

from __future__ import annotations

ASKED = "asked.json"
"""Sample chats as lists of messages, beside the stand-ins for what was made of them."""
