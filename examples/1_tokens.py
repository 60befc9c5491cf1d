# %% [markdown]
# # Lesson 1: What a model reads
#
# A language model never sees letters. Before it reads, a *tokenizer* cuts your text into pieces, called
# *tokens*, and each token has a number. The model sees only the numbers. In this lesson you look at the
# pieces, find out why they are neither letters nor words, and make a tokenizer of your own.
#
# The answers are stored in this notebook. Choose *Edit → Clear Outputs of All Cells* first; then guess,
# and run one cell at a time with Shift+Enter. [In a notebook](../docs/notebooks.md) says how to open a
# lesson.

# %%
import tokenglass as tg

model = tg.load("smollm2")
print(f"{len(model.tokenizer):,} tokens, {model.info.parameters:,} numbers inside the model")

# %% [markdown]
# The list of all tokens is the model's *vocabulary*.
#
# ## Guess, then look
#
# Into how many pieces will this sentence be cut? Write your guess down before you run the next cell.
# Then look at the strip: each box is one token, a middle dot is a space, and the table below gives each
# token's number, its *id*.

# %%
model.tokenize("Preposterous, I'm flabbergasted!")

# %% [markdown]
# There are 11 tokens. Common words such as `·I` are one piece; rare ones are put together from several,
# as `·fl` `ab` `berg` `asted`. Note that the space belongs to the word after it: `·I` and `I` are
# different tokens.
#
# ## Why not letters, why not words?
#
# Three ways to cut one text. Guess which needs the fewest pieces, and which cannot write a new word.

# %%
sentence = "Unbelievable words"
subwords = [token.text for token in model.tokenize(sentence).tokens]
for name, found in (("letters", list(sentence)), ("words", sentence.split(" ")), ("subwords", subwords)):
    print(f"{name:9} {len(found):3}  {'|'.join(found)}")

# %% [markdown]
# Letters make 18 pieces, and the model must take a step for each. Words make 2, but a list of words
# never ends: a word that is not in it could not be written at all. Subwords are the middle: few pieces
# for common words, and almost everything can be written, since nearly every single byte is a token.
#
# A *byte* is a number between `0` and `255`; the computer keeps all text as bytes. Guess: how many
# tokens is one emoji?

# %%
print("😀 in the computer:", list("😀".encode()))
print("tokens:", len(model.tokenize("😀")))
model.tokenize("😀 zażółć")

# %% [markdown]
# This emoji is four bytes in the computer, and here it is 3 tokens. None of them is a character by
# itself; the note in the table says which character they are a part of. A tool that turns each token
# into text alone would print question marks here.
#
# ## Numbers and back
#
# Numbers go in, and text comes back. Guess: does the space at the front survive?

# %%
ids = model.tokenize(" I love Generative AI").ids
print(ids)
print(repr(model.detokenize(ids)))

# %% [markdown]
# It does. Nothing was lost here. Where the vocabulary has no token for a byte, the result says so: try
# `model.tokenize("a\x04b")`.
#
# ## Three recipes for pieces
#
# How does one choose the pieces? *BPE* starts with letters and joins the pair that stands together most
# often, again and again. *Unigram* starts with many pieces and drops those that are missed least.
#
# *WordPiece* marks pieces inside a word and cuts a word by the longest piece that fits, from the left.
# (Google's own trainer also prefers pairs that are more frequent than their parts suggest; this library
# joins by count, as BPE does.)
#
# You can train all three on a small text. Guess: will they cut `newslow`, which they never saw, in the
# same way?

# %%
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

TIMES = {  # how often each word stands in the text; no two equally often
    **{"low": 50, "lower": 31, "lowest": 23, "new": 47, "newer": 29, "newest": 19},
    **{"wide": 41, "wider": 17, "widest": 13, "slow": 37, "slower": 11, "slowest": 7},
}
TEXT = [word for word, times in TIMES.items() for _ in range(times)]
SETTINGS = {"vocab_size": 40, "special_tokens": ["?"], "show_progress": False}
RECIPES = {
    "BPE": lambda: (models.BPE(unk_token="?"), trainers.BpeTrainer(**SETTINGS)),
    "WordPiece": lambda: (models.WordPiece(unk_token="?"), trainers.WordPieceTrainer(**SETTINGS)),
    "Unigram": lambda: (models.Unigram(), trainers.UnigramTrainer(unk_token="?", **SETTINGS)),
}


def train(name):
    """A small tokenizer by one of the recipes."""
    recipe, trainer = RECIPES[name]()
    made = Tokenizer(recipe)
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(TEXT, trainer)
    return made


trained = {name: train(name) for name in RECIPES}
for name, made in trained.items():
    pieces = " | ".join(made.encode("slowest widest newslow").tokens)
    print(f"{name:9} {made.get_vocab_size()} pieces in the list   {pieces}")

# %% [markdown]
# Same text, different pieces. We allowed 40, but that is a ceiling: BPE found nothing more to join after
# 30, and Unigram kept 19. WordPiece marks a piece inside a word with `##`. Only `newslow` was unseen,
# yet Unigram cuts even `slowest`, which it saw seven times.
#
# None of the three is wrong: a tokenizer is a habit, and a model must be used with the one it was
# trained with.
#
# ## Train it twice
#
# A model that is trained twice comes out different: it starts from random numbers. And a tokenizer?
# Guess before you run this.

# %%
for name, made in trained.items():
    again = train(name)
    print(f"{name:9} the same pieces: {set(again.get_vocab()) == set(made.get_vocab())}")

# %% [markdown]
# None of the three needs chance, so the same text gives the same pieces, every time. (Only ties are left
# to the program, as between two pairs that are equally frequent; our text has no two equally frequent
# words. And this library numbers WordPiece's and Unigram's pieces in another order each time.)
#
# A tokenizer can be kept in one file and loaded without any model. It shows itself like the model's own.

# %%
with tempfile.TemporaryDirectory() as folder:
    trained["BPE"].save(str(Path(folder) / "tokenizer.json"))
    small = tg.load_tokenizer(str(Path(folder) / "tokenizer.json"))
small.encode("slowest widest")

# %% [markdown]
# The line at the top says that one byte was left out. That is the space: `pre_tokenizers.Whitespace()`,
# the line that cut our text into words, threw it away. BPE is not to blame. This model and GPT-2 also
# use BPE, but keep the space as part of the token.
#
# ## Experiments
#
# Change a cell above and run it again.
#
# - Write your own name with and without a space in front. Are the numbers the same?
# - With a space in front, find a word of ten letters that is a single token, and one of five letters
#   that needs three.
# - Guess how this model reads digits: is `1000` one token? Then run the next cell.

# %%
for text in ("1000", "10000", "1,000"):
    print(f"{text:6} {[token.text for token in model.tokenize(text).tokens]}")

# %% [markdown]
# This tokenizer gives every digit a token of its own. Models differ in this.
#
# ## The same on GPT-2
#
# GPT-2 is an older model with another tokenizer. The teaching notebooks that this course follows use it
# and its smaller copy DistilGPT-2, and print other numbers. The next cell asks for them where you set
# `TOKENGLASS_GPT2=1` and the Hugging Face hub, a site that models are fetched from, can be reached.

# %%
import os

if os.environ.get("TOKENGLASS_GPT2"):
    PRINTED = {
        "I love Generative AI": [40, 1842, 2980, 876, 9552],
        "I skip across the": [40, 14267, 1973, 262],
        "I am learning about generative ai and LLM's": [
            *(40, 716, 4673, 546, 1152, 876, 257, 72, 290, 27140, 44, 338)
        ],
        "Udacity is the best place to learn about generative": [
            *(52, 67, 4355, 318, 262, 1266, 1295, 284, 2193, 546, 1152, 876)
        ],
    }
    for name in ("gpt2", "distilgpt2"):
        tokenizer = tg.load_tokenizer(name)
        assert len(tokenizer) == 50257
        for text, ids in PRINTED.items():
            assert tokenizer.encode(text).ids == ids
            assert tokenizer.decode(ids) == text
    assert len(tg.load_tokenizer("distilgpt2", add_prefix_space=True).encode("This weekend I plan to")) == 5
    print(tokenizer.encode("I am learning about generative ai and LLM's"))
else:
    print("not asked for")

# %% [markdown]
# ## The question at the end
#
# *Why do models use subwords?* In our view because letters are too many steps, words are too many
# entries, and pieces give a list of fixed length that can write almost everything, as the table of three
# ways showed.
