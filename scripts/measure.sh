# Sourced by scripts/real-model and scripts/compare-mixers: one model's figures, each made once.
# They read PROGRAM, DEVICE, RANKS, DATA and SAMPLES.

# FILE COMMAND...: FILE is what the command leaves when it is done. A stopped command goes on where it was.
once() {
  local file=$1
  shift
  [ -e "$file" ] && return
  echo "== $*" >&2
  "$@"
}

# FILE MODEL OPTION...: eval, shared by the ranks, with the evaluation sets.
evaluate_into() {
  local file=$1 model=$2
  shift 2
  once "$file" "$PROGRAM" eval "$model" --device "$DEVICE" --ranks "$RANKS" --data-dir "$DATA" "$@" --out "$file"
}

# FILE MODEL: the five tasks and wikitext.
measure_tasks() {
  evaluate_into "$1" "$2" --max-length 2048 --tasks hellaswag,arc_easy,arc_challenge,piqa,winogrande,wikitext
}

# FILE MODEL CONTEXT TEXT: perplexity in windows of so many tokens.
measure_windows() {
  once "$1" "$PROGRAM" eval "$2" --device "$DEVICE" --tasks text --context "$3" --windows 1000 --text "$4" --out "$1"
}

# FILE MODEL MAX LENGTHS: needles in prompts of these lengths.
measure_needles() {
  evaluate_into "$1" "$2" --max-length "$3" --tasks niah_single_1,niah_single_2,niah_multikey_1 --lengths "$4" \
    --samples "$SAMPLES"
}

# FILE TEACHER MODEL CONTEXT TEXT: the distance from the teacher.
measure_distance() {
  once "$1" "$PROGRAM" compare "$2" "$3" --device "$DEVICE" --context "$4" --windows $((262144 / $4)) --text "$5" --json "$1"
}

# FILE SHAPES CONTEXTS: memory and speed of decoding.
measure_decoding() {
  once "$1" "$PROGRAM" bench decode --device "$DEVICE" --shape "$2" --context "$3" --json "$1"
}
