# %% [markdown]
# # Lesson 5: Every way to choose
#
# The model gives a table; somebody must choose. Each rule for choosing is a *strategy*, each has a
# weakness and a use. In this lesson one prompt goes through all of them. Where the library transformers
# has a keyword, it has the same name and meaning here.
#
# The answers are stored in this notebook. Choose *Edit → Clear Outputs of All Cells* first; then guess,
# and run one cell at a time with Shift+Enter.

# %%
import textwrap

import tokenglass as tg

model = tg.load("smollm2")
prompt = "The old house at the end of the street"


def write(**config):
    """The text that some keywords write after the prompt."""
    out = model.generate(prompt, **({"max_new_tokens": 30} | config))
    print(textwrap.fill(" ".join(out.full_text.split()), 70), end="\n\n")
    return out


def ids(word):
    """The numbers of a word's tokens."""
    return model.tokenize(word).ids


# %% [markdown]
# ## Greedy: always the first row
#
# Guess what happens if one always takes the likeliest token and lets it run.

# %%
greedy = write(max_new_tokens=80)

# %% [markdown]
# The weakness: it goes round in circles. A phrase just written makes itself more likely. The use: facts,
# code, short answers, and anything that must come out the same each time.
#
# ## Beam search: look a little ahead
#
# Five texts grow side by side; those with the best total survive. Guess: is the text more probable than
# greedy's? The *mean log-probability* says so: nearer to zero is more probable.

# %%
beams = write(num_beams=5, max_new_tokens=80)
for name, out in (("greedy", greedy), ("beams", beams)):
    print(f"{name:7} {sum(step.logprob for step in out.steps) / len(out.steps):.3f} a token")

# %% [markdown]
# Here it is more probable: -0.725 against -0.912. It is no cure for circles: `for a long time` comes
# twice. The use: translation and summaries, where the best text *is* the likely one.
#
# ## Against repetition
#
# Two cures. `no_repeat_ngram_size=2` forbids any pair of tokens to come twice. `repetition_penalty`
# lowers the scores of tokens that are there already. Guess which of the three drifts furthest from the
# house.

# %%
for cure in ({"no_repeat_ngram_size": 2}, {"repetition_penalty": 1.2}, {"repetition_penalty": 1.5}):
    print(cure)
    last = write(max_new_tokens=80, **cure)
print(next(step for step in last.steps if step.rank > 1).why())

# %% [markdown]
# The last line says who pushed a favourite away. At 1.5 the text drifts furthest: it ends among
# favourite stories.
#
# Both cures look at the prompt too. So guess what they do to a name that must come again.

# %%
for cure in ({}, {"no_repeat_ngram_size": 2}, {"repetition_penalty": 1.2}, {"repetition_penalty": 1.5}):
    york = model.next_tokens("I live in New York. I love New", **cure).lookup(" York")
    print(f"{cure!s:28} York {york.p_final:.1%}")

# %% [markdown]
# 98.9 % become nothing, 64.6 % or 3.5 %: that is the weakness. The use: a mild penalty against circles.
#
# ## Words you do not want, words you do
#
# `bad_words_ids` takes tokens out of the table; the others share what is left. Guess who profits.

# %%
model.next_tokens("The capital of France is", n=5, bad_words_ids=[ids(" Paris")])

# %% [markdown]
# All others, the wrong ones too: `·London` goes from 1.25 to 5.48 %. The weakness: it forbids tokens,
# not thoughts, and `·paris` in small letters is other tokens. The use: words that must never appear.
#
# `force_words_ids` is the opposite: beams that must contain a word. Guess whether it will fit in.

# %%
wanted = write(num_beams=3, force_words_ids=[ids(" garden")], max_new_tokens=20)

# %% [markdown]
# The weakness: it is pushed in at the last moment. The use: a name or a term that must stand in the
# text.
#
# ## Drawing by chance
#
# Now roll dice: each token is drawn with its probability. A *seed* fixes the chance, so that it comes
# out again. Guess the weakness, with tens of thousands of unlikely tokens in the long *tail*.

# %%
for seed in (1, 5, 11):
    drawn = write(do_sample=True, top_k=0, seed=seed)

# %% [markdown]
# `do_sample=True` rolls the dice; `top_k=0` switches off a cut that comes by itself. Sooner or later the
# dice hit an odd token, and the text follows it. So the tail is cut, in one of these ways.
#
# | keyword | keeps | weakness | use |
# |---|---|---|---|
# | `temperature` | all, the favourites favoured | the tail is still there | one knob: tame or wild |
# | `top_k` | a fixed number | too many where one is right, too few where all are | a simple stop |
# | `top_p` | as many as make up a share | lets a long tail in where the model is unsure | chat, prose |
# | `min_p` | those near the favourite | leaves no choice where the model is sure | high temperature |

# %%
for cut in (
    {"temperature": 0.4, "top_k": 0},
    {"top_k": 10},
    {"top_p": 0.94, "top_k": 0},
    {"min_p": 0.1, "top_k": 0},
):
    print(cut)
    drawn = write(do_sample=True, seed=7, **cut)

# %% [markdown]
# How many tokens does each cut leave alive? Guess the three numbers for a prompt where the model is
# sure, and for one where it is not.

# %%
cuts = ({"top_k": 10}, {"top_p": 0.94, "top_k": 0}, {"min_p": 0.1, "top_k": 0})
for text in ("The capital of France is", prompt):
    print(text)
    for cut in cuts:
        alive = model.next_tokens(text, do_sample=True, **cut).stages[-1].alive
        print(f"  {cut!s:28} {alive:4} alive")

# %% [markdown]
# `top_k` keeps 10 both times. `top_p` keeps 30 where the model is sure and 110 where it is not, and
# `min_p` keeps 1 and 6.
#
# ## Both at once
#
# Beams whose candidates are drawn, as one of the teaching notebooks that this course follows does it.
# Guess: does another seed still change the text?

# %%
for seed in (70, 71):
    both = write(do_sample=True, num_beams=5, repetition_penalty=1.2, top_k=10, max_length=40, seed=seed)

# %% [markdown]
# It does. The weakness: neither the most probable text nor the freest. The use: several proposals that
# each hang together.
#
# ## Contrastive search
#
# Take the few likeliest tokens and look at the vector inside the model: a list of numbers that stands
# for the text so far. A token that makes it too similar to an earlier one is marked down. Guess how
# often the favourite loses.

# %%
contrast = write(penalty_alpha=0.6, top_k=4, max_new_tokens=80)
lost = sum(step.rank > 1 for step in contrast.steps)
print("not the favourite:", lost, "of", len(contrast.steps), "tokens")

# %% [markdown]
# 18 of 80 times. Here it does not go round, and needs no dice; but it leaves the house for a hidden
# market. The weakness: each step costs several looks. The use: longer texts that must come out the same
# each time.
#
# ## All of them, side by side
#
# | strategy | what it does | weakness | use |
# |---|---|---|---|
# | `typical_p` | keeps tokens as surprising as expected | may drop the favourite | lively prose |
# | `top_n_sigma` | keeps scores near the best one | dull when low | high temperature |
# | `xtc_probability` | sometimes removes the favourites | spoils facts | fiction |
# | `mirostat` | steers the surprise | slow to settle | long texts |
# | `num_beam_groups` | beams that must differ | less probable texts | several proposals |
# | `dola_layers` | last layer against an early one | odd on small models | facts, large models |
# | `prompt_lookup_num_tokens` | copies ahead, then checks | no gain without repeats | same text, faster |
# | `assistant_model` | a small model guesses ahead | needs a second model | same text, faster |
# | `preset="llama.cpp"`, `"vllm"` | its order and defaults | same keyword, other text | reproducing it |
#
# One call puts them beside each other, and says at which token and why each parts from greedy. Guess
# which of them write greedy's own words.

# %%
show = model.strategies(prompt, max_new_tokens=12, seed=3)
for row in show.to_dict()["strategies"]:
    text = row["generation"]["sequences"][0]["text"]
    print(f"{row['name']:19}", " ".join(text.split()))
    print(textwrap.indent(textwrap.fill(row["why"], 68), " " * 6))

# %% [markdown]
# `no_repeat_ngram` finds no pair to forbid in so short a text, and `prompt_lookup` writes greedy's words
# by its nature.
#
# Put `show` alone in a new cell: it draws itself, with the time that each one took.
#
# ## Experiments
#
# - Take another seed. Which strategies change, and which cannot? (With dice, a model that has read the
#   web may also say ugly things.)
# - Write with `temperature=2.0, min_p=0.1, top_k=0, seed=5`. Does the text survive? And with
#   `top_p=0.94` in the place of `min_p`?
# - The chain says what runs, in order, and what you never set. Guess what that is here.

# %%
model.chain(top_p=0.94, do_sample=True, seed=7)

# %% [markdown]
# It is `top_k=50`, which transformers adds unless you say `top_k=0`.
#
# ## The same on GPT-2
#
# Where GPT-2, an older model, can be had, the same keywords run on it. Its greedy text is printed in a
# teaching notebook, and comes out again.

# %%
import os

if os.environ.get("TOKENGLASS_GPT2"):
    gpt2 = tg.load("gpt2")
    told = gpt2.generate("I skip across the", max_new_tokens=20)
    assert told.text == " line to the next section.\n\nThe first thing to note is that the first line is a"
    print(told.text)
else:
    print("not asked for")

# %% [markdown]
# ## The question at the end
#
# *Which strategy is best?* In our view: for one right answer, greedy or beams; for a story, dice with
# `min_p` or `top_p`; against circles, a mild penalty or contrastive search. The table is the model's;
# the choice is yours.
