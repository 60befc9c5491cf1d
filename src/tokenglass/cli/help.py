"""What `tokenglass --help` prints, and what the help of a command says about its options as a whole."""

OVERVIEW = """\
tokenglass shows how a language model writes, one token at a time.

  tokenglass "PROMPT"            tokens and next-token table; on a terminal, then step with single keys
  tokenglass tokens TEXT         how a text is cut into tokens
  tokenglass next PROMPT         which tokens may come next: -n 20, --lookup " Paris", --stages
  tokenglass generate PROMPT     write on: --max-new-tokens 50, --do-sample --top-p 0.9, --num-beams 5 ...
  tokenglass strategies PROMPT   one prompt under every decoding strategy, and where each parts from greedy
  tokenglass score FILE          how surprising each token of a text is; --text TEXT, --options " Yes"
  tokenglass compare A B         two prompts, or PROMPT --a top_k=5 --b top_p=0.9, or --with-model NAME
  tokenglass batch IN -o OUT     every row of a file, on one machine or on Ray; goes on where it was stopped
  tokenglass open TRACE          a session kept by --save FILE: its tree; on a terminal, go on with it
  tokenglass replay TRACE        write it again and say whether every number comes out the same
  tokenglass export TRACE -o F   as one page: .html; its rows: .csv .jsonl .parquet; its tree: .md .dot .svg
  tokenglass serve               all of it as a page in the browser, from this machine only: -m NAME, --port N
  tokenglass models              the models here: list, pull, add, path, check
  tokenglass serve-gguf FILE     llama.cpp's server for a model without a native graph
  tokenglass doctor              what is installed, and how fast one step is here

  -m, --model NAME               smollm2 (the default), a folder, a .gguf file or a Hugging Face id
  --json                         one JSON document on stdout, nothing else
  --chat                         give the prompt as a user's message
  --precision exact|fast         float32 activations, or int8 ones where the weights allow it
  --engine onnx|hf|server        what computes: the native engine, transformers (--dtype, --device), a server
  --seed N                       seed of the randomness
  --version                      the version

PROMPT is one argument, so put it in quotes; - reads it from standard input (one final newline is dropped).
A prompt that is also a command, or starts with -, goes after --, as in: tokenglass -- models
tokenglass COMMAND --help says more about a command; tokenglass generate --help lists every decoding option.

Exit codes: 0 done, 2 command line, 3 model or file unusable, 4 engine failure, 130 interrupted."""

KEYWORDS_ELSEWHERE = (
    "Every decoding option of tokenglass generate --help is an option here too, as in --do-sample --top-p .9"
)
HOW_TO_TYPE = (
    "The options below are the library's keywords. A list is typed as JSON in single quotes, as in "
    "--suppress-tokens '[1, 2]'; none switches an option off; --no- turns a switch off, as in --no-do-sample."
)
