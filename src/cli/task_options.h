// Which tasks read which options: what nothing reads is refused, what was read is recorded.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"

namespace hypenet {

/// Kinds of tasks by what they read, one bit each.
using TaskKinds = uint32_t;

inline constexpr TaskKinds kTextKind = 1 << 0;           // text
inline constexpr TaskKinds kRecallKind = 1 << 1;         // recall
inline constexpr TaskKinds kLazyKind = 1 << 2;           // lazy, of sweep
inline constexpr TaskKinds kOwnKind = 1 << 3;            // a file of own items
inline constexpr TaskKinds kChoiceKind = 1 << 4;         // data sets of choices
inline constexpr TaskKinds kLambadaKind = 1 << 5;        // lambada_*
inline constexpr TaskKinds kWikitextKind = 1 << 6;       // wikitext
inline constexpr TaskKinds kCompletionKind = 1 << 7;     // fda, swde, squad_completion
inline constexpr TaskKinds kRulerKind = 1 << 8;          // RULER's tasks without a data set
inline constexpr TaskKinds kRulerDataKind = 1 << 9;      // RULER's tasks with one
inline constexpr TaskKinds kRepeatedGridKind = 1 << 10;  // needle-grid, by its haystack
inline constexpr TaskKinds kEssayGridKind = 1 << 11;
inline constexpr TaskKinds kFactGridKind = 1 << 12;

inline constexpr TaskKinds kAnyRuler = kRulerKind | kRulerDataKind;
inline constexpr TaskKinds kAnyGrid = kRepeatedGridKind | kEssayGridKind | kFactGridKind;
/// Tasks whose answers are scored, and those whose answers are generated; own items are either.
inline constexpr TaskKinds kAnyScored = kOwnKind | kChoiceKind | kLambadaKind | kWikitextKind;
inline constexpr TaskKinds kAnyGenerated = kOwnKind | kCompletionKind | kAnyRuler;
inline constexpr TaskKinds kAnyItems = kAnyScored | kAnyGenerated;
inline constexpr TaskKinds kAnyDataSet =
    kChoiceKind | kLambadaKind | kWikitextKind | kCompletionKind | kRulerDataKind;

/// The kinds of a task or group; of a name with a length ("niah_single_1/4096") those of the task.
/// needle-grid: of `haystack` ("essays", ...). All kinds for a name that is none.
TaskKinds kinds_of(const std::string& task, const std::string& haystack = {});

/// An option, and who reads it. One option may have several rows, with other values for others.
struct TaskOption {
  const char* flag = nullptr;  // "--shots"
  TaskKinds readers = 0;
  const char* read_by = nullptr;  // the readers, as an error names them
  const char* key = nullptr;      // under which a result records it; null: it changes no result
  Json value = nullptr;           // as it is recorded
};

/// Throws Error for an option of the table that was given on the command line and that none of
/// `tasks` reads: "--shots: has no effect on items.jsonl: it is read by ...".
void refuse_unread(const CLI::App& command, std::span<const TaskOption> table,
                   const std::vector<std::string>& tasks, const std::string& haystack = {});

/// The options that a task reads, with their values: how it was measured.
Json settings_of_task(std::span<const TaskOption> table, const std::string& task,
                      const std::string& haystack = {});

}  // namespace hypenet
