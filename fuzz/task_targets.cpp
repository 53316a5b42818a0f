// Targets of the evaluation's data sets: users' own items, published tasks, what RULER is made of.
#include "base/error.h"
#include "eval/own_tasks.h"
#include "eval/python/sentences.h"
#include "eval/ruler/data.h"
#include "fuzz/target.h"

namespace hypenet::fuzz {
namespace {

/// A task and where its file may lie in a data folder; one a reader of records.
struct TaskFile {
  std::string_view task;
  const char* path;
};
constexpr TaskFile kTasks[] = {{"arc_easy", "ai2_arc/ARC-Easy/test.jsonl"},
                               {"hellaswag", "hellaswag/data/validation.jsonl"},
                               {"piqa", "piqa/plain_text/validation.jsonl"},
                               {"winogrande", "winogrande/winogrande_xl/validation.jsonl"},
                               {"openbookqa", "openbookqa/main/test.jsonl"},
                               {"mmlu_astronomy", "mmlu/astronomy/test.jsonl"},
                               {"lambada_openai", "lambada_openai/data/test.jsonl"},
                               {"wikitext", "wikitext/wikitext-2-raw-v1/test.jsonl"},
                               {"fda", "fda.jsonl"}};

}  // namespace

void read_own_task(std::string_view input) { load_own_task(put("own.jsonl", input).string(), {}); }

/// the name of a task --- its file, JSON lines
void read_task(std::string_view input) {
  const auto part = parts(input, 2);
  for (const auto& [task, path] : kTasks) {
    if (task != part[0]) continue;
    put(std::filesystem::path("data") / path, part[1]);
    const std::string name(task);
    load_tasks(std::span(&name, 1), {.data = {folder() / "data"}, .shots = 0});
  }
}

/// JSON as SQuAD, HotpotQA, a word list and essays.
void read_ruler(std::string_view input) {
  const std::vector<std::filesystem::path> data = {folder()};
  for (const char* name : {"squad.json", "hotpotqa.json", "english_words.json",
                           "PaulGrahamEssays.json", "records/squad_v2/validation.jsonl"}) {
    put(name, input);
  }
  for (const char* name :
       {"abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab"}) {
    put(std::filesystem::path("punkt_tab/english") / name, "");
  }
  attempt([&] { read_squad(data, "squad"); });
  attempt([&] { read_squad({folder() / "records"}, "squad"); });
  attempt([&] { read_hotpot(data, "hotpot"); });
  attempt([&] { read_english_words(data, "words"); });
  attempt([&] { Essays(data, "essays").sentences(50); });
}

/// abbrev_types.txt --- collocations.tab --- sent_starters.txt --- ortho_context.tab --- a text
void read_punkt(std::string_view input) {
  const auto part = parts(input, 5);
  put("abbrev_types.txt", part[0]);
  put("collocations.tab", part[1]);
  put("sent_starters.txt", part[2]);
  put("ortho_context.tab", part[3]);
  SentenceSplitter(PunktParameters::load(folder())).split(part[4]);
}

}  // namespace hypenet::fuzz
