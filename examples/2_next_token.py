# %% [markdown]
# # Lesson 2: One row of numbers
#
# A language model does one thing: it reads tokens and gives every token of its *vocabulary*, the list of
# all its tokens, a score for coming next. The scores are called *logits*. In this lesson you see them,
# turn them into probabilities, and find the probability of any token you like.
#
# The answers are stored in this notebook. Choose *Edit → Clear Outputs of All Cells* first; then guess,
# and run one cell at a time with Shift+Enter.

# %%
import numpy as np

import tokenglass as tg

model = tg.load("smollm2")
prompt = "Once upon a time, generative models"

# %% [markdown]
# ## The shape of the scores
#
# The prompt, the text that the model is given, has seven tokens. Guess: how many scores come out?

# %%
logits = model.logits(prompt)
print("tokens in the prompt:", len(model.tokenize(prompt)))
print("shape of the scores: ", logits.shape)

# %% [markdown]
# A row for each of the 7 tokens, and in each row a score for each of the 49152 tokens of the vocabulary.
# Each row is about what follows *that* token. So the last row, `logits[-1]`, is about the next token of
# the whole prompt. Here are its five largest scores.

# %%
print(np.sort(logits[-1])[::-1][:5].round(2))

# %% [markdown]
# These are scores, not probabilities: they may be negative and do not sum to anything. *Softmax* makes
# probabilities of them: raise $e$ to each score, then divide by the sum of all of these.

# %%
shares = np.exp(logits[-1].astype(float))
shares /= shares.sum()
print("sum of all:", shares.sum().round(6), "  largest:", shares.max().round(4))

# %% [markdown]
# ## The table
#
# Guess the three most likely words after `Once upon a time, generative models`. Then look.

# %%
table = model.next_tokens(prompt)
table

# %% [markdown]
# The first row has the very share that you just computed by hand, 20.7 %. The last row, the grey one, is
# everything that is not shown: 49,142 tokens that share about 30 %. So the column adds up to 100 %.
# Cutting the list and calling the rest nothing would be a lie.
#
# The heading says how undecided the model is, in *bits*. One bit is the toss of a coin: two equal
# choices. Two bits are four equal choices, three are eight. Here it is 5.07 bits, as if the model had to
# choose among about 33 equally likely tokens. This number is called *entropy*.
#
# ## Look one up
#
# A token need not be in the table to have a number. Guess the rank of ` magic` among all tokens.

# %%
row = table.lookup(" magic")
print(f"rank {row.rank:,} of {len(model.tokenizer):,}, probability {row.p:.4%}, logit {row.logit:.2f}")

# %% [markdown]
# Rank 673 of 49,152: improbable, yet never zero.
#
# ## What position -3 predicts
#
# `logits[-1]` is the last row. And `logits[-3]`? Look at the tokens and count back three from the end.
# That row is about what follows *that* token. Guess what the model would have said there.

# %%
model.tokenize(prompt)

# %%
earlier = model.next_tokens(prompt, n=5, position=-3)
came = model.tokenize(prompt).tokens[-2]
print(f"came: {came.text}, rank {earlier.lookup(came.id).rank:,}")
earlier

# %% [markdown]
# The third from the end is the comma, so this row is a guess at the token after the comma. The model
# expected something like `·the`, at 16.1 %; what came instead, `·generative`, stands far down the list.
# Every token of a prompt has been guessed at like this, all in one go.
#
# ## How wrong was each guess?
#
# The *surprise* of a token is the number of bits it takes to say it: one for something as likely as
# heads in a coin toss, about ten for one chance in a thousand. The next cell shows it for each token, as
# a *heat map*. Guess how many bits `·Berlin` costs here.

# %%
score = model.score("The capital of France is Berlin.")
score

# %% [markdown]
# The first row is the sign with which this model begins a text; nothing predicts it. This is a chat
# model. After its sign for a beginning it expects who is speaking, not a sentence, so the first words
# are dear. Leave them aside and look at `·Berlin`: 8.90 bits, since the model would have said `·Paris`
# at 74.9 %.
#
# ## Experiments
#
# - Put a sentence of your own into the table above, one word more each time. After which word is entropy
#   lowest?
# - Guess the probability of ` Paris` after `The capital of France is`, and after the same with
#   `Germany`. Then run the next cell.

# %%
for country in ("France", "Germany"):
    found = model.next_tokens(f"The capital of {country} is").lookup(" Paris")
    print(f"{country:8} Paris has rank {found.rank} with {found.p:.2%}")
print(f"with the sign in front: {score.rows[6].top[0].p:.2%}")

# %% [markdown]
# The same word goes from 77.25 % to 0.67 % because one word before it changed. Above it had a little
# less, 74.91 %: `score` puts the sign for the beginning in front, `next_tokens` reads just your text.
#
# ## The same on GPT-2
#
# GPT-2 is the older model that the teaching notebooks of this course use, and DistilGPT-2 its smaller
# copy. With `TOKENGLASS_GPT2=1`, and where the Hugging Face hub can be reached, what they print comes
# out here.

# %%
import os

if os.environ.get("TOKENGLASS_GPT2"):
    EXACT = 2e-5  # two machines differ by about that much
    PRINTED = {
        ("distilgpt2", "Udacity is the best place to learn about generative"): [
            (8300, " programming", 0.117578),
            (4673, " learning", 0.082171),
            (8950, " languages", 0.028905),
            (3725, " knowledge", 0.026193),
            (290, " and", 0.025532),
        ],
        ("gpt2", "I am learning about generative ai and LLM's"): [
            (13, ".", 0.170429),
            (290, " and", 0.120934),
            (11, ",", 0.103037),
            (287, " in", 0.040562),
            (355, " as", 0.018829),
        ],
    }
    for (name, text), printed in PRINTED.items():
        small = tg.load(name)
        told = small.next_tokens(text, n=5)
        assert small.logits(text).shape == (len(small.tokenize(text)), 50257)
        for row, (token_id, token, p) in zip(told.rows, printed, strict=True):
            assert row.id == token_id and row.token.bytes == token.encode()
            assert abs(row.p - p) < EXACT
            assert told.lookup(token).id == token_id
        print(told)
    distilled = tg.load("distilgpt2")
    assert distilled.info.parameters == 81912576
    assert len(distilled.tokenizer) == distilled.info.vocab_size == 50257
else:
    print("not asked for")

# %% [markdown]
# ## The questions at the end
#
# *What is the shape of the logits?* One row a token, one column an entry of the vocabulary; some tools
# put a third axis in front, for several prompts at once. *What does position `-3` predict?* The token
# after the third from the end. That is the last but one, which we know already.
#
# *Is the likeliest token the right one?* In our view that is another question: the model knows what
# usually follows, and `·Paris` is right because many texts were.
