# %% [markdown]
# # Lesson 5: Every way to choose
#
# The model gives a table; somebody must choose. Each rule for choosing is a *strategy*, each has a weakness
# and a use. In this lesson one prompt goes through all of them. The keywords are those of transformers, and
# write the same tokens.

# %%
import tokenglass as tg

model = tg.load("smollm2")
prompt = "The old house at the end of the street"


def write(**config):
    """The text that some keywords write after the prompt."""
    out = model.generate(prompt, **({"max_new_tokens": 30} | config))
    print(out.text.strip().replace("\n", " "))
    return out


# %% [markdown]
# ## Greedy: always the first row
#
# Guess what happens if one always takes the likeliest token and lets it run.

# %%
greedy = write(max_new_tokens=50)

# %% [markdown]
# The weakness: it goes round in circles. A phrase just written makes itself more likely. The use: facts,
# code, short answers, and anything that must come out the same each time.
#
# ## Beam search: look a little ahead
#
# Five texts grow side by side; those with the best total survive. Guess: is its text more probable than
# greedy's?

# %%
beams = write(num_beams=5, max_new_tokens=20)
for name, out in (("greedy", greedy), ("beams", beams)):
    first = out.steps[:20]
    print(f"{name:7} mean log-probability of a token: {sum(step.logprob for step in first) / len(first):.3f}")

# %% [markdown]
# More probable, and duller: likely texts are the ones that say little. The use: translation and summaries,
# where the best text *is* the likely one.
#
# ## Against repetition
#
# Two cures. `no_repeat_ngram_size=2` forbids any pair of tokens to come twice. `repetition_penalty` lowers
# the scores of tokens that are there already. Guess which of them hurts a text with a name in it.

# %%
banned = write(no_repeat_ngram_size=2)
mild = write(repetition_penalty=1.2)
hard = write(repetition_penalty=1.5)

# %% [markdown]
# The first is blunt: `New York` may be said once only. The second is softer, but the higher it is, the more
# even ` the` and the comma are avoided, and the text drifts. Ask a step who pushed the favourite away.

# %%
pushed = next(step for step in hard.steps if step.rank > 1)
print(pushed.why())

# %% [markdown]
# ## Words you do not want
#
# `bad_words_ids` takes tokens out of the table. The others share what is left.

# %%
unwanted = [model.tokenize(word).ids for word in (" was", " is")]
model.next_tokens(prompt, n=6, bad_words_ids=unwanted)

# %% [markdown]
# ## Drawing by chance
#
# Now roll dice: each token is drawn with its probability. Guess what the weakness is, with tens of thousands
# of tokens in the tail.

# %%
for seed in (1, 2, 3):
    write(do_sample=True, top_k=0, seed=seed)

# %% [markdown]
# Sooner or later it draws an odd token, and the text follows it. So the tail is cut, in one of these ways.
#
# | keyword | keeps | weakness |
# |---|---|---|
# | `temperature` | all, the favourites favoured | the tail is still there |
# | `top_k` | a fixed number | too many where one is right, too few where all are |
# | `top_p` | as many as make up a share | lets a long tail in where the model is unsure |
# | `min_p` | those near the favourite | hardly any |

# %%
for cut in (
    {"temperature": 0.4, "top_k": 0},
    {"top_k": 10},
    {"top_p": 0.94, "top_k": 0},
    {"min_p": 0.1, "top_k": 0},
):
    print(cut)
    write(do_sample=True, seed=7, **cut)

# %% [markdown]
# How many tokens does each leave alive? It depends on how sure the model is. Guess the four numbers for a
# sure prompt and for an unsure one.

# %%
for text in ("The capital of France is", prompt):
    for cut in ({"top_k": 10}, {"top_p": 0.94, "top_k": 0}, {"min_p": 0.1, "top_k": 0}):
        alive = model.next_tokens(text, do_sample=True, **cut).stages[-1].alive
        print(f"{text:40} {cut!s:30} {alive:6,} alive")

# %% [markdown]
# `top_k` keeps 10 both times. `top_p` keeps 30 where the model is sure and 110 where it is not, and `min_p`
# keeps 1 and 6.
#
# ## Both at once
#
# Beams whose candidates are drawn, as one of the notebooks does it, with a seed so that it can be repeated.

# %%
drawn = write(do_sample=True, num_beams=5, repetition_penalty=1.2, top_k=10, max_new_tokens=20, seed=70)

# %% [markdown]
# ## Contrastive search
#
# Take the few likeliest tokens and look at what each would *mean* at this place: the vector inside the
# model. A token too similar to an earlier one is marked down. Guess whether the favourite wins each time.

# %%
contrast = write(penalty_alpha=0.6, top_k=4, max_new_tokens=30)
print(
    "not the favourite:", sum(step.rank > 1 for step in contrast.steps), "of", len(contrast.steps), "tokens"
)

# %% [markdown]
# It stays on topic without going round, and needs no dice. The weakness: each step costs several looks, and
# its text can be stiff.
#
# ## All of them, side by side
#
# One call puts them beside each other, and says at which token and why each parts from greedy.

# %%
names = ["greedy", "top_p", "beam_search", "contrastive"]
show = model.strategies(prompt, names, max_new_tokens=12, seed=7)
for row in show.rows:
    print(f"{row.name:12} {row.generation.text.strip()}")

# %% [markdown]
# ## Experiments
#
# - Take another seed. Which strategies change, and which cannot?
# - Raise the temperature to two with `min_p=0.1`. Does the text survive? And with `top_p=0.94`?
# - `print(model.chain(top_p=0.94, do_sample=True))` says what runs, in order, and what you never set.

# %%
model.chain(top_p=0.94, do_sample=True, seed=7)

# %% [markdown]
# ## The same on GPT-2
#
# Where GPT-2 can be had, the same keywords write what transformers writes; here the notebook's greedy text.

# %%
import os

if os.environ.get("TOKENGLASS_GPT2"):
    gpt2 = tg.load("gpt2")
    told = gpt2.generate("I skip across the", max_new_tokens=20)
    assert told.text.startswith(" line to the next section.")
    print(told.text)
else:
    print("not asked for")

# %% [markdown]
# ## The question at the end
#
# *Which strategy is best?* For one right answer, greedy or beams; for a story, dice with `min_p` or `top_p`;
# against circles, a mild penalty or contrastive search. The table is the model's; the choice is yours.
