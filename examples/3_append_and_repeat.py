# %% [markdown]
# # Lesson 3: Append, and again
#
# A text is written one token at a time: ask for the table, take a token, append it, ask again. That is all
# there is. In this lesson you do it by hand, take steps back, try another way, and meet a mistake that is
# easily made.

# %%
import tokenglass as tg

model = tg.load("smollm2")

# %% [markdown]
# ## By hand
#
# Guess the token that comes first, then the one after it. Then let the model do three steps; each `step`
# appends the likeliest token.

# %%
session = model.session("Generative models learn")
for step in session.step(3):
    print(step.why())
print(session.text)

# %% [markdown]
# A session shows itself: the tokens so far, and the table of what may come next. The stronger the tint, the
# more probable the token was when it was written.

# %%
session

# %% [markdown]
# ## Back, and another way
#
# `undo` takes the last token back and `step(token=...)` appends one of your own. Nothing is lost: what you
# took back is still there, on a branch of its own. Guess how likely the model finds ` nothing` after
# `Generative models learn`.

# %%
session.undo(3)
forced = session.step(token=" nothing")
print(f"rank {forced.rank:,}, probability {forced.p:.4%}")
session.step(4)
session.tree

# %% [markdown]
# Two branches grow out of one prompt now. A token put there by hand bears a sign; what follows it is the
# model's own. See how the model goes on as if it had said the odd word itself: it has no memory of who wrote
# what.
#
# ## How to complete a sentence
#
# Go on until a full stop: `stop_strings` ends the text there. Guess how many tokens that takes.

# %%
out = model.generate("I skip across the", max_new_tokens=40, stop_strings=["."])
out

# %% [markdown]
# The heat map is the text, token by token; the table says which rank each token had. In greedy writing that
# is always the first.
#
# ## The mistake
#
# A loop that turns each new token into text, glues the texts together and cuts the result again looks
# harmless. But the pieces may come out different: then the model reads another prompt than the one it wrote.
# Guess which is longer.

# %%
ids = [*model.tokenize("I am un").ids, *model.tokenize("believ").ids, *model.tokenize("able").ids]
again = model.tokenize(model.detokenize(ids)).ids
print("as written: ", [model.tokenizer.token(i).text for i in ids])
print("cut again:  ", [model.tokenizer.token(i).text for i in again])
print(len(ids), "tokens against", len(again))

# %% [markdown]
# 6 tokens have become 4. A session keeps the numbers and never cuts again, so this cannot happen here.
#
# Does it matter? Look at what may come next after each of the two.

# %%
for name, tokens in (("as written", ids), ("cut again", again)):
    best = model.next_tokens(tokens).rows[0]
    print(f"{name:11} best next: {best.text}  {best.p:.1%}")

# %% [markdown]
# ## Who stops?
#
# A text ends when the model writes its *end of text* token, or when you said how long it may get. One of the
# notebooks forgets to stop and appends a full stop for ever. Guess what happens here, where sixty tokens are
# allowed.

# %%
short = model.generate([{"role": "user", "content": "Say hello."}], max_new_tokens=60)
print(short.text)
print("finish reason:", short.finish_reason, " tokens:", len(short.ids))

# %% [markdown]
# The finish reason is never a mystery: `eos` is the model's own end, `length` is yours.
#
# ## Experiments
#
# - Undo to the prompt above and force ` to`. Where does the text go?
# - `session.expand(mass=0.5)` unfolds all likely ways at once; look at `session.tree` again.
# - Ask `step.why()` about a token you forced.

# %%
session.goto(0)
session.expand(depth=2, limit=8)

# %% [markdown]
# ## The same on GPT-2
#
# The notebooks print what GPT-2 writes after `I skip across the`. It comes out again where the model can be
# had.

# %%
import os

if os.environ.get("TOKENGLASS_GPT2"):
    gpt2 = tg.load("gpt2")
    told = gpt2.generate("I skip across the", max_new_tokens=20)
    assert told.text == " line to the next section.\n\nThe first thing to note is that the first line is a"
    print(told)
else:
    print("not asked for")

# %% [markdown]
# ## The question at the end
#
# *How do you complete a sentence?* Append the likeliest token, again and again, until a full stop or an end
# token; keep the numbers, not the text.
