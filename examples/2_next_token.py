# %% [markdown]
# # Lesson 2: One row of numbers
#
# A language model does one thing: it reads tokens and gives every token of its vocabulary a score for coming
# next. The scores are called *logits*. In this lesson you see them, turn them into probabilities, and find
# the probability of any token you like.

# %%
import numpy as np

import tokenglass as tg

model = tg.load("smollm2")
prompt = "Once upon a time, generative models"

# %% [markdown]
# ## The shape of the scores
#
# The prompt has seven tokens. Guess: how many scores come out of the model?

# %%
logits = model.logits(prompt)
print("tokens in the prompt:", len(model.tokenize(prompt)))
print("shape of the scores: ", logits.shape)

# %% [markdown]
# A row for each of the 7 tokens, and in each row a score for each of the 49152 tokens of the vocabulary.
# Each row is about what follows *that* token. So the last row, `logits[-1]`, is about the next token of the
# whole prompt.

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
# everything that is not shown: 49,142 tokens that share 30.4 %. So the column always adds up to one; cutting
# the list and calling the rest nothing would be a lie.
#
# The heading says how undecided the model is: 5.07 bits of *entropy*. Two to that power is about 33, as if
# it had to choose among that many equally likely words.
#
# ## Look one up
#
# Guess the rank of ` magic` among all tokens. It need not be in the table to have a number.

# %%
row = table.lookup(" magic")
print(f"rank {row.rank:,}, probability {row.p:.6%}, logit {row.logit:.2f}")

# %% [markdown]
# ## What position -3 predicts
#
# `logits[-1]` is the last row. And `logits[-3]`? Count back three tokens from the end of the prompt and
# guess what the best guess there would be. The prompt itself says what really came.

# %%
earlier = model.next_tokens(prompt, n=5, position=-3)
came = model.tokenize(prompt).tokens[-2]
print("came:", came.text, " rank", earlier.lookup(came.id).rank)
earlier

# %% [markdown]
# Row minus three was computed after the comma, so it is a guess at the token after the comma. The model
# expected something like `·the`, at 16.1 %; what came instead stands far down the list. Every token of a
# prompt has been guessed at like this, all in one go.
#
# ## How wrong was each guess?
#
# The *surprise* of a token is the number of bits it takes to say it: one for a coin toss, ten for one in a
# thousand. Guess which word of this sentence surprises the model most.

# %%
score = model.score("The capital of France is Berlin.")
score

# %% [markdown]
# The first row is the sign with which this model begins a text; nothing predicts it. After `The`, almost
# any noun could come, so `·capital` is dear. Leave that aside and look at `·Berlin`: 8.90 bits, since the
# model would have said something else at 74.9 %.
#
# ## Experiments
#
# - Put your own prompt into the table above. How does entropy change between a fact and an opinion?
# - Look up ` Paris` after `The capital of France is`, then after `The capital of Germany is`.

# %%
for country in ("France", "Germany"):
    found = model.next_tokens(f"The capital of {country} is").lookup(" Paris")
    print(f"{country:8} Paris has rank {found.rank} with {found.p:.2%}")

# %% [markdown]
# The same word goes from 77.25% to 0.67% because one word before it changed.
#
# ## The same on GPT-2
#
# With `TOKENGLASS_GPT2=1` and a hub in reach, the numbers that the notebooks print come out here as well.

# %%
import os

if os.environ.get("TOKENGLASS_GPT2"):
    small = tg.load("distilgpt2")
    told = small.next_tokens("Udacity is the best place to learn about generative", n=5)
    printed = [(8300, 0.117578), (4673, 0.082171), (8950, 0.028905), (3725, 0.026193), (290, 0.025532)]
    assert [row.id for row in told.rows] == [token_id for token_id, _ in printed]
    assert all(abs(row.p - p) < 2e-5 for row, (_, p) in zip(told.rows, printed, strict=True))
    print(told)
else:
    print("not asked for")

# %% [markdown]
# ## The questions at the end
#
# *What is the shape of the logits?* One row a token, one column an entry of the vocabulary; some tools put a
# third axis in front, for several prompts at once. *What does position `-3` predict?* The token after the
# third from the end, which is the last but one, and which we know already.
