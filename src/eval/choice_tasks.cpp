// One reader of records a task; each takes the columns of the hub's data set and, where those
// differ, the fields of the authors' own files.
#include "eval/choice_tasks.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "eval/python/python_text.h"

namespace hypenet {
namespace {

/// The place of `label`, in which white space at the front does not count.
int64_t place_of(const std::string& label, const std::vector<std::string>& labels) {
  const auto found = std::ranges::find(labels, std::string(strip(label)));
  HYPENET_CHECK(found != labels.end(), "answerKey: expected a label of a choice, found \"", label,
                "\"");
  return found - labels.begin();
}

/// {choices: {text[], label[]}, answerKey} as on the hub, or [{text, label}] as ARC's own files
/// have it.
void read_labelled_choices(const Json& holder, const std::string& answer,
                           ChoiceDocument& document) {
  std::vector<std::string> labels;
  if (holder.contains("choices") && holder.at("choices").is_object()) {
    document.choices = texts_field(holder.at("choices"), "text");
    labels = texts_field(holder.at("choices"), "label");
  } else {
    for (const Json& choice : array_field(holder, "choices")) {
      document.choices.push_back(text_field(choice, "text"));
      labels.push_back(text_field(choice, "label"));
    }
  }
  document.gold = place_of(answer, labels);
}

ChoiceDocument read_arc(const Json& record) {
  ChoiceDocument document{.id = id_field(record, {"id"})};
  const bool is_nested = record.contains("question") && record.at("question").is_object();
  const Json& holder = is_nested ? record.at("question") : record;
  const std::string& stem = text_field(holder, is_nested ? "stem" : "question");
  document.question = concat("Question: ", stem, "\nAnswer:");
  read_labelled_choices(holder, text_field(record, "answerKey"), document);
  return document;
}

ChoiceDocument read_openbookqa(const Json& record) {
  ChoiceDocument document{.id = id_field(record, {"id"})};
  const bool is_nested = record.contains("question") && record.at("question").is_object();
  const Json& holder = is_nested ? record.at("question") : record;
  document.question = text_field(holder, is_nested ? "stem" : "question_stem");
  read_labelled_choices(holder, text_field(record, "answerKey"), document);
  return document;
}

/// Each "[...]" on one line goes, the shortest that begins at a bracket.
std::string without_brackets(const std::string& text) {
  std::string result;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = text[at] == '[' ? text.find_first_of("]\n", at) : text.npos;
    if (end != text.npos && text[end] == ']') {
      at = end + 1;
    } else {
      result += text[at++];
    }
  }
  return result;
}

/// The marks of the WikiHow half taken away (3.1).
std::string clean(std::string_view text) {
  return replace_all(without_brackets(replace_all(strip(text), " [title]", ". ")), "  ", " ");
}

/// Files of cleaned texts name no parts of the context and have its last fragment as it is.
std::string hellaswag_context(const Json& record) {
  if (!record.contains("ctx_a")) return text_field(record, "ctx");
  return concat(text_field(record, "activity_label"), ": ", text_field(record, "ctx_a"), " ",
                capitalize(text_field(record, "ctx_b")));
}

ChoiceDocument read_hellaswag(const Json& record) {
  ChoiceDocument document{.id = id_field(record, {"ind", "id"})};
  document.question = clean(hellaswag_context(record));
  document.choices = texts_field(record, "endings");
  for (std::string& choice : document.choices) choice = clean(choice);
  document.gold = integer_field(record, "label");
  return document;
}

ChoiceDocument read_piqa(const Json& record) {
  ChoiceDocument document{.id = id_field(record, {"id"})};
  document.question = concat("Question: ", text_field(record, "goal"), "\nAnswer:");
  document.choices = {text_field(record, "sol1"), text_field(record, "sol2")};
  document.gold = integer_field(record, "label");
  return document;
}

ChoiceDocument read_winogrande(const Json& record) {
  ChoiceDocument document{.id = id_field(record, {"qID", "id"})};
  const std::string& sentence = text_field(record, "sentence");
  const size_t blank = sentence.find('_');
  HYPENET_CHECK(blank != sentence.npos, "sentence: expected a _, found none");
  const std::string before = sentence.substr(0, blank);
  document.choices = {before + text_field(record, "option1"),
                      before + text_field(record, "option2")};
  document.ending = strip(std::string_view(sentence).substr(blank + 1));
  HYPENET_CHECK(!document.ending.empty(), "sentence: expected text after its _, found none");
  document.gold = integer_field(record, "answer") - 1;
  return document;
}

std::vector<std::string> with(std::vector<std::string> paths, std::vector<std::string> more) {
  std::ranges::move(more, std::back_inserter(paths));
  return paths;
}

/// ARC as on the hub, as in its authors' archive, and as single files in a folder arc.
DataFiles arc_files(const std::string& set, const std::string& hub_split,
                    const std::string& split) {
  const std::string file = concat(set, "-", split, ".jsonl");
  return {.dataset = "allenai/ai2_arc",
          .hub = configuration_paths(set, hub_split),
          .others = {concat("arc/", file), concat("ARC-V1-Feb2018-2/", set, "/", file), file}};
}

ChoiceTask arc(const std::string& name, const std::string& set, const std::string& about) {
  return {.name = {name, about},
          .test = arc_files(set, "test", "Test"),
          .examples = arc_files(set, "train", "Train"),
          .read = read_arc};
}

ChoiceTask hellaswag() {
  const std::string dataset = "Rowan/hellaswag";
  return {.name = {"hellaswag", "HellaSwag: how does a scene or an instruction go on"},
          .test = {.dataset = dataset,
                   .hub = with(hub_paths({}, "validation"), {"data/hellaswag_val.jsonl"}),
                   .others = {"hellaswag/hellaswag_val.jsonl", "hellaswag/hellaswag_val.jsonl.gz",
                              "hellaswag_val.jsonl"}},
          .examples = {.dataset = dataset,
                       .hub = with(hub_paths({}, "train"), {"data/hellaswag_train.jsonl"}),
                       .others = {"hellaswag/hellaswag_train.jsonl", "hellaswag_train.jsonl"}},
          .read = read_hellaswag,
          .draw = ExampleDraw::kOneMore};
}

ChoiceTask piqa() {
  const std::string dataset = "baber/piqa";
  return {.name = {"piqa", "PIQA: which of two ways reaches a goal in the physical world"},
          .test = {.dataset = dataset,
                   .hub = hub_paths("plain_text", "validation"),
                   .others = {"piqa/valid.jsonl", "physicaliqa-train-dev/dev.jsonl"}},
          .examples = {.dataset = dataset,
                       .hub = hub_paths("plain_text", "train"),
                       .others = {"piqa/train.jsonl", "physicaliqa-train-dev/train.jsonl"}},
          .read = read_piqa,
          .draw = ExampleDraw::kOneMore};
}

ChoiceTask winogrande() {
  const std::string dataset = "allenai/winogrande";
  return {.name = {"winogrande", "WinoGrande: whom or what does a pronoun's blank stand for"},
          .scoring = &Scoring::kChoiceOfContext,
          .test = {.dataset = dataset,
                   .hub = configuration_paths("winogrande_xl", "validation"),
                   .others = {"winogrande/winogrande_dev.jsonl", "winogrande_1.1/dev.jsonl"}},
          .examples = {.dataset = dataset,
                       .hub = configuration_paths("winogrande_xl", "train"),
                       .others = {"winogrande/winogrande_train.jsonl",
                                  "winogrande_1.1/train_xl.jsonl"}},
          .read = read_winogrande,
          .draw = ExampleDraw::kOneMore};
}

ChoiceTask openbookqa() {
  const std::string dataset = "allenai/openbookqa", folder = "OpenBookQA-V1-Sep2018/Data/Main/";
  return {.name = {"openbookqa", "OpenBookQA: elementary science, its book closed"},
          .test = {.dataset = dataset,
                   .hub = configuration_paths("main", "test"),
                   .others = {folder + "test.jsonl"}},
          .examples = {.dataset = dataset,
                       .hub = configuration_paths("main", "train"),
                       .others = {folder + "train.jsonl"}},
          .read = read_openbookqa};
}

}  // namespace

std::vector<ChoiceTask> choice_tasks() {
  return {arc("arc_easy", "ARC-Easy", "ARC: science questions of grade school, the easy ones"),
          arc("arc_challenge", "ARC-Challenge", "ARC: those that retrieval does not answer"),
          hellaswag(),
          piqa(),
          winogrande(),
          openbookqa()};
}

}  // namespace hypenet
