# %% [markdown]
# # Lesson 3: Append, and again
#
# A text is written one token at a time: ask for the table, take a token, append it, ask again. That is
# all there is. In this lesson you do it by hand, take steps back, try another way, and meet a mistake
# that is easily made.
#
# The answers are stored in this notebook. Choose *Edit → Clear Outputs of All Cells* first; then guess,
# and run one cell at a time with Shift+Enter.

# %%
import tokenglass as tg

model = tg.load("smollm2")

# %% [markdown]
# ## By hand
#
# Here is a start: `Generative models learn`. Guess the token that comes first, then the one after it.
# Then let the model do three steps. Each `step` appends the likeliest token; always to do so is called
# *greedy*.

# %%
session = model.session("Generative models learn")
for step in session.step(3):
    print(step.why())
print(session.text)

# %% [markdown]
# A session shows itself: the tokens so far, and the table of what may come next. The stronger the tint,
# the more probable the token was when it was written.

# %%
session

# %% [markdown]
# Now play. Put `session.widget()` in a new cell, press *guess first*, and append a row by clicking. What
# you do there, `session` knows here. (It needs `tokenglass[notebook]`.)
#
# ## Back, and another way
#
# `goto(0)` goes back to the start, and `step(token=...)` appends a token of your own. Nothing is lost:
# what you leave is still there, on a branch of its own. Guess how likely the model finds ` nothing`
# after `Generative models learn`.

# %%
session.goto(0)
forced = session.step(token=" nothing")
print(forced.why())
session.step(4)
session.tree

# %% [markdown]
# Less than one chance in a hundred thousand. Two branches grow out of one start now. A token put there
# by hand bears a sign; what follows it is the model's own. See how the model goes on as if it had said
# the odd word itself: it has no memory of who wrote what.
#
# ## How to complete a sentence
#
# Go on until a full stop: `stop_strings` ends the text there. Guess how many tokens that takes.

# %%
out = model.generate("I skip across the", max_new_tokens=40, stop_strings=["."])
out

# %% [markdown]
# It takes 16. The heat map is the text, token by token; the table says which rank each token had. In
# greedy writing that is always the first.
#
# ## The mistake
#
# A loop that turns each new token into text, glues the texts together and cuts the result again looks
# harmless. But the pieces may come out different: then the model reads another text than the one it
# wrote. Guess which of the two is longer.

# %%
loop = model.session("The word supercalifrag")
loop.step(2)
ids, again = list(loop.ids), model.tokenize(loop.text).ids
for name, tokens in (("as written", ids), ("cut again", again)):
    print(f"{name:11} {len(tokens)} tokens  {'|'.join(model.tokenizer.token(i).text for i in tokens)}")

# %% [markdown]
# 8 tokens have become 7: `il` and `ine` are one token, `iline`. A session keeps the numbers and never
# cuts again, so this cannot happen there.
#
# Does it matter? Guess whether the same token comes next after each of the two.

# %%
for name, tokens in (("as written", ids), ("cut again", again)):
    best = model.next_tokens(tokens).rows[0]
    print(f"{name:11} best next: {best.text}  {best.p:.1%}")

# %% [markdown]
# Same letters, other numbers, and another favourite: `·refers` with 15.1 % against `·is` with 22.1 %.
# From here on the two texts would differ.
#
# ## Who stops?
#
# A text ends when the model writes its *end of text* token, or where you said. One of the teaching
# notebooks that this course follows never stops: it appends a full stop for ever.
#
# The next prompt is a chat: *role* is who speaks, and *content* is what is said. Guess whether the model
# uses all the sixty tokens that are allowed.

# %%
short = model.generate([{"role": "user", "content": "Say hello."}], max_new_tokens=60)
print(short.text)
print("finish reason:", short.finish_reason, " tokens:", len(short.ids))

# %% [markdown]
# The finish reason is never a mystery: `eos` is the model's own end; `length` and `stop_string` are
# yours.
#
# There are two ways to say a length. Guess what the difference is.

# %%
print("tokens in the prompt:", len(model.tokenize("I skip across the")))
for length in ({"max_new_tokens": 100}, {"max_length": 100}):
    out = model.generate("I skip across the", **length)
    print(f"{length} gives {len(out.ids)} new tokens, finish reason: {out.finish_reason}")

# %% [markdown]
# `max_length` counts the 4 tokens of the prompt as well, so 96 are left for the text.
#
# With GPT-2 the library transformers also warns: `Setting pad_token_id to eos_token_id`. To write
# several texts at once it fills the short ones up with a *pad* token, and GPT-2 has none. For one text
# nothing needs to be filled, so here is nothing to warn about.
#
# ## Experiments
#
# - Go back to the start as above and force ` to`. Where does the text go?
# - `expand` unfolds the likely ways at once: at each place the tokens that make up half of the
#   probability. Guess how many first tokens that takes, then run the next cell.
# - Ask for `mass=0.7` as well. Which first token joins?

# %%
session.goto(0)
session.expand(depth=2, mass=0.5)
session.tree

# %% [markdown]
# It takes 2 first tokens, `·from` and `·to`. After `·from` again 2 are enough; after `·to` it takes 8,
# since there the model is less sure.
#
# ## The same on GPT-2
#
# The teaching notebooks print what GPT-2, an older model, writes after `I skip across the`. With
# `TOKENGLASS_GPT2=1` it comes out again where the model can be had.

# %%
import os

if os.environ.get("TOKENGLASS_GPT2"):
    gpt2 = tg.load("gpt2")
    assert gpt2.tokenize("I skip across the").ids == [40, 14267, 1973, 262]
    PRINTED = {  # in per cent, with one decimal
        " line": 3.6,
        " street": 2.7,
        " river": 2.2,
        " room": 1.9,
        " pond": 1.8,
        " bridge": 1.7,
        " border": 1.7,
        " country": 1.7,
        " road": 1.6,
        " board": 0.9,
    }
    table = gpt2.next_tokens("I skip across the", n=10)
    assert table.rows[0].token.bytes == b" line"
    assert all(abs(100 * table.lookup(token).p - percent) < 0.052 for token, percent in PRINTED.items())
    told = gpt2.generate("I skip across the", max_new_tokens=20)
    assert told.text == " line to the next section.\n\nThe first thing to note is that the first line is a"
    print(table)
    print(told)
else:
    print("not asked for")

# %% [markdown]
# ## The questions at the end
#
# *How do you complete a sentence?* Append a token, again and again, until a full stop or an end token;
# keep the numbers, not the text. *Should it always be the likeliest?* In our view often not: the last lesson
# shows why.
