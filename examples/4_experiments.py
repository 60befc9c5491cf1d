# %% [markdown]
# # Lesson 4: What moves the numbers?
#
# The table of the next token depends on everything before it. In this lesson you change one thing at a
# time, a word, the grammar, the temperature, and measure how far the probabilities move.
#
# The answers are stored in this notebook. Choose *Edit → Clear Outputs of All Cells* first; then guess,
# and run one cell at a time with Shift+Enter.

# %%
import tokenglass as tg

model = tg.load("smollm2")

# %% [markdown]
# ## Change one word
#
# Put `I hate` in the place of `I love`. Guess which next word becomes more probable by most, and name
# one that becomes less probable.

# %%
changed = tg.compare("I love", "I hate", model=model, max_new_tokens=8)
changed

# %% [markdown]
# Each row of the lower table is one token and its probability under both prompts. `·it` rises most, from
# 7.06 to 10.2 %; `·her`, in the first row, falls from 5.82 to 2.52 %.
#
# Above stand measures of the whole change. *TV* is the easiest: the share of probability that had to
# move, from none to all. Here it is 0.329, about a third. Leave KL and JS aside.
#
# ## Change another
#
# Not every word matters as much. Guess the order: which of these changes moves most, and which least?

# %%
for other in (
    "The capital of Germany is",
    "The city of France is",
    "A capital of France is",
    "The capital of France was",
    "The capital in France is",
):
    apart = tg.compare("The capital of France is", other, model=model, max_new_tokens=1).prompt_end
    print(f"{other:26} TV {apart.tv:.3f}")

# %% [markdown]
# Nearness is not what counts: `was` stands right before the gap and moves 0.603, `city` stands far from
# it and moves 0.882. The word that carries the meaning, here `Germany`, pulls hardest.
#
# ## Break the grammar
#
# Break the grammar a little, then shuffle all the words. `score` says how many bits each costs: one bit
# is a coin toss. The sentence in front gives the model a start; its own bits are taken off. Guess: how
# many times what the right sentence costs does the shuffled one cost?

# %%
front = "Look out of the window. "
for text in (
    "The children are playing in the garden.",
    "The children is playing in the garden.",
    "Garden the in playing are children the.",
):
    cost = model.score(front + text).bits - model.score(front.strip()).bits
    print(f"{text:42} {cost:5.1f} bits")

# %% [markdown]
# One wrong verb costs nine bits more. The shuffled sentence costs three times as much. Nobody wrote
# rules of grammar into the model: it learned from much text what usually follows what.
#
# The heat map of a score says *where* it hurts. Guess which token of the second sentence costs most, and
# whether the word after it suffers too.

# %%
for verb in ("are", "is"):
    rows = model.score(f"{front}The children {verb} playing in the garden.").rows[9:11]
    print("  ".join(f"{row.text} {row.surprisal_bits:.2f} bits" for row in rows))
model.score(front + "The children is playing in the garden.")

# %% [markdown]
# `·is` costs 11.03 bits where `·are` would have cost 2.83. One token later `·playing` costs 6.72, little
# more than the 5.97 after `·are`: the model has recovered.
#
# The *perplexity* in the heading is two to the power of the bits a token costs on average: as undecided
# as among that many.
#
# ## Move the temperature
#
# *Temperature* divides the scores before softmax. Below one the favourite grows; above one it shrinks,
# and the long *tail* of unlikely tokens grows. The order never changes.
#
# The model gives ` Paris` about 77 %. Guess what is left of it at temperature two. (`do_sample=True`
# says that the token is to be drawn by chance; `top_k=0` switches off a cut that would come along
# unasked.)

# %%
for temperature in (0.4, 1.0, 2.0):
    table = model.next_tokens("The capital of France is", do_sample=True, temperature=temperature, top_k=0)
    paris = table.lookup(" Paris")
    print(f"temperature {temperature}: the model {paris.p:.0%} ({paris.p:.2%}), after it {paris.p_final:.2%}")

# %% [markdown]
# The model's own number is 77.25 % each time: temperature comes after the model. At 0.4 nearly
# everything goes to the favourite, 99.79 %; at 2.0 it is left with 5.22 %, and tens of thousands of odd
# tokens share the rest.
#
# Put `model.explore("The capital of France is")` in a new cell and move the temperature slider. (It
# needs `tokenglass[notebook]`.)
#
# ## See the chain
#
# Temperature is one *stage* of a *chain* of steps between the model and the choice. Here are two more: a
# fixed number of tokens is kept (`top_k`), then those that are not far below the favourite (`min_p`).
# Guess how many tokens are still alive at the end. *After chain* is the probability that is left then.

# %%
model.next_tokens("The capital of France is", do_sample=True, temperature=1.5, top_k=20, min_p=0.05)

# %% [markdown]
# Of 20 that `top_k` left, 6 survive. The table says for each of the others who removed it. Leave the
# grey small print aside.
#
# Note `top_k` below: the library transformers applies `top_k=50` when you draw, also when you never
# asked for it. The chain says where each value came from. A *seed* fixes the chance, so that it comes
# out again.

# %%
model.chain(do_sample=True, temperature=0.4, seed=7)

# %% [markdown]
# ## Is one word better than another?
#
# You can ask for the probability of whole continuations, also of several tokens. Guess which of four
# foods the model finds likeliest, and how often it would say gravel.

# %%
print(f"cream after ice: {model.next_tokens('My favourite food is ice').lookup(' cream').p:.1%}")
model.score_options("My favourite food is", [" pizza", " ice cream", " spinach", " gravel"])

# %% [markdown]
# Pizza wins with 5.18 % against 0.459 % for ice cream. Gravel is improbable, yet not zero.
#
# The column *by mean* takes the average over a text's tokens, so that two tokens are not dearer than
# one. There ice cream leads, since `·cream` is nearly certain after `·ice`: 99.1 %.
#
# ## Experiments
#
# - Compare `He is a doctor. She is a` with `She is a doctor. He is a`. What did the model learn from its
#   texts?
# - Misspell one word of the sentence about the garden. How many tokens later has the model recovered?
# - Guess how undecided the model is after the row of numbers below. Then find a beginning with more than
#   nine bits. (Think of people.)

# %%
prompt = "1, 2, 3, 4, 5, 6, 7,"
print(f"{prompt}  {model.next_tokens(prompt).entropy_bits:.2f} bits")

# %% [markdown]
# After the numbers hardly anything is open: 0.37 bits.
#
# ## The same on GPT-2
#
# One of the teaching notebooks that this course follows loads DistilGPT-2, a small relative of GPT-2,
# with `add_prefix_space=True`: a space is put in front of the first word. Here are its printed numbers.

# %%
import os

if os.environ.get("TOKENGLASS_GPT2"):
    EXACT = 2e-5  # two machines differ by about that much
    PRINTED = [
        (" go", 0.059828),
        (" take", 0.043880),
        (" spend", 0.031570),
        (" make", 0.030519),
        (" do", 0.029206),
        (" be", 0.027960),
        (" attend", 0.025885),
        (" visit", 0.025827),
        (" run", 0.022074),
        (" have", 0.020955),
    ]
    spaced = tg.load("distilgpt2", add_prefix_space=True)
    assert len(spaced.tokenize("This weekend I plan to")) == 5
    told = spaced.next_tokens("This weekend I plan to", n=10)
    assert told.rows[0].id == 467
    for row, (token, p) in zip(told.rows, PRINTED, strict=True):
        assert row.token.bytes == token.encode() and abs(row.p - p) < EXACT
    print(told)
else:
    print("not asked for")

# %% [markdown]
# ## The questions at the end
#
# *How do the probabilities move?* With every word, most with those that carry the meaning, near or far;
# and after the model, with every stage of the chain. The first is what it learned, the second is what
# you asked for. *Is a likely text a good one?* In our view that is another question: the numbers say
# what is usual.
