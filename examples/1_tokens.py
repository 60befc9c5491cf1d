# %% [markdown]
# # Lesson 1: What a model reads
#
# A language model never sees letters. Before it reads, a *tokenizer* cuts your text into pieces, and each
# piece has a number. The model sees only the numbers. In this lesson you look at the pieces, find out why
# they are neither letters nor words, and make a tokenizer of your own.

# %%
import tokenglass as tg

model = tg.load("smollm2")
print(f"{len(model.tokenizer):,} tokens, {model.info.parameters:,} numbers inside the model")

# %% [markdown]
# ## Guess, then look
#
# Into how many pieces will this sentence be cut? Write your guess down before you run the next cell. Then
# look at the strip: each box is one token, a middle dot is a space, and the table below gives each token's
# number.

# %%
model.tokenize("Preposterous, I'm flabbergasted!")

# %% [markdown]
# There are 11 tokens. Common words such as `·I` are one piece; rare ones are put together from several, as
# `·fl` `ab` `berg` `asted`. Note that the space belongs to the word after it: `·I` and `I` are different
# tokens.
#
# ## Why not letters, why not words?
#
# Three ways to cut one sentence. Guess which needs the fewest pieces, and which cannot write a new word.

# %%
sentence = "Tokenization of untranslatable words"
letters, words, pieces = list(sentence), sentence.split(" "), model.tokenize(sentence)
for name, found in (("letters", letters), ("words", words), ("subwords", [t.text for t in pieces.tokens])):
    print(f"{name:9} {len(found):3}  {' | '.join(found)}")

# %% [markdown]
# Letters make 36 pieces, and the model must take a step for each. Words make 4, but a list of words never
# ends: a word that is not in it could not be written at all. Subwords are the middle: few pieces for common
# words, and everything can be written, since in the end every single byte is a token.

# %%
model.tokenize("😀 zażółć")

# %% [markdown]
# An emoji is four bytes in the computer, and here it may be several tokens. None of them is a character by
# itself; the note in the table says which character they are a part of. A tool that turns each token into
# text alone would print question marks here.
#
# ## Numbers and back
#
# Numbers go in, and the same text comes back. Guess: does the space at the front survive?

# %%
ids = model.tokenize(" I love Generative AI").ids
print(ids)
print(repr(model.detokenize(ids)))

# %% [markdown]
# It does. Nothing is lost on the way, so the numbers are the text.
#
# ## Three recipes for pieces
#
# How does one choose the pieces? Three recipes are in use. *BPE* starts with letters and joins the pair that
# stands together most often, again and again. *WordPiece* joins the pair that is more frequent than its
# parts would make you expect. *Unigram* starts with many pieces and drops those that are missed least.
#
# You can train all three on a small text. Guess: will they cut a word they never saw in the same way?

# %%
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

TEXT = ["low lower lowest", "new newer newest", "wide wider widest", "slow slower slowest"] * 20
SIZE = 40
RECIPES = {
    "BPE": (
        models.BPE(unk_token="?"),
        trainers.BpeTrainer(vocab_size=SIZE, special_tokens=["?"], show_progress=False),
    ),
    "WordPiece": (
        models.WordPiece(unk_token="?"),
        trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=["?"], show_progress=False),
    ),
    "Unigram": (
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=SIZE, special_tokens=["?"], unk_token="?", show_progress=False),
    ),
}


def train(name):
    """A small tokenizer by one of the recipes."""
    recipe, trainer = RECIPES[name]
    made = Tokenizer(recipe)
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(TEXT, trainer)
    return made


trained = {name: train(name) for name in RECIPES}
for name, made in trained.items():
    print(f"{name:9} {' | '.join(made.encode('slowest widest newslow').tokens)}")

# %% [markdown]
# Same text, same size, different pieces. WordPiece marks what goes on inside a word with two signs of its
# own. None of the three is wrong: a tokenizer is a habit, and a model must be used with the one it was
# trained with.
#
# ## Train it twice
#
# A model that is trained twice comes out different each time: it starts from random numbers. And a
# tokenizer? Guess before you run this.

# %%
for name in RECIPES:
    again = train(name)
    print(f"{name:9} the same vocabulary: {again.get_vocab() == trained[name].get_vocab()}")

# %% [markdown]
# Counting pairs needs no chance, so the same text gives the same tokenizer, every time.
#
# A tokenizer can be kept in one file and loaded without any model. It shows itself like the model's own.

# %%
with tempfile.TemporaryDirectory() as folder:
    trained["BPE"].save(str(Path(folder) / "tokenizer.json"))
    small = tg.load_tokenizer(str(Path(folder) / "tokenizer.json"))
small.encode("slowest widest")

# %% [markdown]
# The line at the top says that one byte was left out: this recipe throws the space away. GPT-2's recipe, and
# this model's, keep it.
#
# ## Experiments
#
# Change a cell above and run it again.
#
# - Write your own name with and without a space in front. Are the numbers the same?
# - Find a word of ten letters that is a single token, and one of five letters that needs three.
# - Tokenize `1000`, `10000` and `1,000`. How does this model read digits?

# %%
for text in ("1000", "10000", "1,000"):
    print(f"{text:6} {[token.text for token in model.tokenize(text).tokens]}")

# %% [markdown]
# This tokenizer gives every digit a token of its own. Models differ in this, and it shows in their
# arithmetic.
#
# ## The same on GPT-2
#
# GPT-2 has another tokenizer, and the numbers that teaching notebooks print are its own. The next cell asks
# for them where you set `TOKENGLASS_GPT2=1` and the Hugging Face hub, or a copy of the model, can be
# reached.

# %%
import os

if os.environ.get("TOKENGLASS_GPT2"):
    gpt2 = tg.load_tokenizer("gpt2")
    assert gpt2.encode("I love Generative AI").ids == [40, 1842, 2980, 876, 9552]
    udacity = "Udacity is the best place to learn about generative"
    assert gpt2.encode(udacity).ids == [52, 67, 4355, 318, 262, 1266, 1295, 284, 2193, 546, 1152, 876]
    print(gpt2.encode("I love Generative AI"))
else:
    print("not asked for")

# %% [markdown]
# ## The question at the end
#
# *Why do models use subwords?* Because letters are too many steps, words are too many entries, and pieces
# give a list of fixed length that can still write everything, as the table of three ways above showed.
