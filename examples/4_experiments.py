# %% [markdown]
# # Lesson 4: What moves the numbers?
#
# The table of the next token depends on everything before it. In this lesson you change one thing at a time,
# a word, the grammar, the temperature, and measure how far the probabilities move.

# %%
import tokenglass as tg

model = tg.load("smollm2")

# %% [markdown]
# ## Change one word
#
# Guess: after `I hate`, which word rises most compared with `I love`?

# %%
changed = tg.compare("I love", "I hate", model=model, max_new_tokens=8)
changed

# %% [markdown]
# Each row of the lower table is one token and its probability under both prompts. Above it stand measures of
# the whole change. *TV* is the easiest: the share of probability that had to move, from 0 to 1. Here it is
# 0.329.
#
# ## Change another
#
# Not every word matters as much. Guess the order: which of these words changes the next token most?

# %%
for other in ("The cat sat on my", "The dog sat on the", "The cat stood on the", "A cat sat on the"):
    apart = tg.compare("The cat sat on the", other, model=model, max_new_tokens=1).prompt_end
    print(f"{other:22} TV {apart.tv:.3f}")

# %% [markdown]
# The word right before the gap has the strongest pull; the one at the far end the weakest, though it is not
# nothing.
#
# ## Break the grammar
#
# Shuffle the words. Guess how many bits it costs the model to read the sentence in a wrong order.

# %%
for text in (
    "The children are playing in the garden.",
    "The children is playing in the garden.",
    "Garden the in playing are children the.",
):
    score = model.score(text)
    print(f"{text:42} {score.bits:6.1f} bits  perplexity {score.perplexity:8.1f}")

# %% [markdown]
# One wrong verb costs a few bits more, the shuffled sentence more than twice as many. The model has no rules
# of grammar inside; it has only seen a lot of text, and this is how that shows.
#
# The heat map of a score says *where* it hurts. Guess the token.

# %%
model.score("The children is playing in the garden.")

# %% [markdown]
# Below each token stands a sign for its rank. `·is` is what the model did not expect there, and the word
# after it suffers too; by `·in` the model has recovered.
#
# ## Move the temperature
#
# Temperature divides the scores before softmax. Below one the favourite grows, above one the others do. The
# order never changes. Guess the probability of ` Paris` at temperature two.

# %%
for temperature in (0.4, 1.0, 2.0):
    table = model.next_tokens("The capital of France is", do_sample=True, temperature=temperature, top_k=0)
    paris = table.lookup(" Paris")
    print(f"temperature {temperature}: model {paris.p:.2%}, after the chain {paris.p_final:.2%}")

# %% [markdown]
# The model's own number is 77.25% each time: temperature comes after the model. At 0.4 nearly everything
# goes to the favourite, 99.79%; at 2.0 it is left with 5.22%, and tens of thousands of odd tokens share the
# rest.
#
# ## See the chain
#
# Temperature is one *stage* of a chain. Add two more and look at what each one does, and who was removed by
# whom.

# %%
model.next_tokens("The capital of France is", do_sample=True, temperature=1.5, top_k=20, min_p=0.05)

# %% [markdown]
# Nothing is hidden here. Note `top_k`: transformers applies `top_k=50` when you sample, also when you never
# asked for it. The chain below says where each value came from.

# %%
model.chain(do_sample=True, temperature=0.4, seed=7)

# %% [markdown]
# ## Is one word better than another?
#
# You can ask for the probability of whole continuations, also of several tokens. Guess the winner.

# %%
model.score_options("My favourite food is", [" pizza", " ice cream", " spinach", " gravel"])

# %% [markdown]
# ## Experiments
#
# - Compare `He is a doctor. She is a` with `She is a doctor. He is a`. What did the model learn from its
# texts?
# - Take a sentence of yours and misspell one word. How many tokens later has the model recovered?
# - Find a prompt with less than one bit of entropy, and one with more than nine.

# %%
for prompt in ("Monday, Tuesday, Wednesday, Thursday, Friday,", "My name is"):
    print(f"{prompt:48} {model.next_tokens(prompt).entropy_bits:.2f} bits")

# %% [markdown]
# ## The same on GPT-2
#
# With a space in front of the first word, as one of the notebooks loads it, and its printed number.

# %%
import os

if os.environ.get("TOKENGLASS_GPT2"):
    spaced = tg.load("distilgpt2", add_prefix_space=True)
    told = spaced.next_tokens("This weekend I plan to")
    assert told.rows[0].id == 467 and abs(told.rows[0].p - 0.059828) < 2e-5
    print(told)
else:
    print("not asked for")

# %% [markdown]
# ## The question at the end
#
# *How do the probabilities move?* With every word, most with the last ones; and after the model, with every
# stage of the chain. The first is what it learned, the second is what you asked for.
