// What the targets share: their table's rows, and the input as files in a folder of the process's
// own.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet::fuzz {

/// A reader under test. It returns, or throws an Error of one line: both are right answers to any
/// input; whatever else leaves it is a fault.
using Target = void (*)(std::string_view input);

/// Writes a file under this name into the process's own folder and returns its path.
std::filesystem::path put(const std::filesystem::path& name, std::string_view bytes);

/// The process's own folder, which is there from the first call to the end of the process.
const std::filesystem::path& folder();

/// The input cut at the lines "---" into `count` parts; the last has the rest, missing ones are
/// empty.
std::vector<std::string_view> parts(std::string_view input, size_t count);

/// Runs a read; an Error is checked and swallowed, so that the next read has its turn.
void attempt(const std::function<void()>& read);

// text_targets.cpp
void read_tokenizer(std::string_view input);
void read_pattern(std::string_view input);
void read_chat_template(std::string_view input);
void read_jinja(std::string_view input);
// model_targets.cpp
void read_safetensors(std::string_view input);
void read_checkpoint(std::string_view input);
void read_quantised_folder(std::string_view input);
void read_gguf(std::string_view input);
void read_config(std::string_view input);
void read_recipe(std::string_view input);
void read_state(std::string_view input);
// data_targets.cpp
void read_documents(std::string_view input);
void read_gzip(std::string_view input);
void read_parquet(std::string_view input);
void read_records(std::string_view input);
void read_shards(std::string_view input);
// result_targets.cpp
void read_journal(std::string_view input);
void read_results(std::string_view input);
void read_scores(std::string_view input);
// answer_targets.cpp
void read_answer(std::string_view input);
// serve_targets.cpp
void read_http(std::string_view input);
void read_request(std::string_view input);
// session_targets.cpp
void read_session(std::string_view input);
void read_prefix(std::string_view input);
// task_targets.cpp
void read_own_task(std::string_view input);
void read_task(std::string_view input);
void read_ruler(std::string_view input);
void read_punkt(std::string_view input);

}  // namespace hypenet::fuzz
