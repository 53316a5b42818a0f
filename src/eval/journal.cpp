// A journal's lines: {"hypenet_journal": 1, "identity": ...}, then {"key": ..., "loglikelihood":
// ..., "is_greedy": ..., "text": ...}.
#include "eval/journal.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "gguf/model_files.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

constexpr const char* kMark = "hypenet_journal";
constexpr int kVersion = 1;

bool tells_models_apart(const fs::path& file) {
  const std::string name = file.filename().string();
  return name.ends_with(".safetensors") || name.starts_with("tokenizer");
}

/// Answers of a model with weights that are not finite cannot be read back.
EvalAnswer read_answer(const Json& line, const std::string& place) {
  try {
    return {.loglikelihood = line.at("loglikelihood").get<double>(),
            .is_greedy = line.at("is_greedy").get<bool>(),
            .text = line.at("text").get<std::string>()};
  } catch (const Json::exception&) {
    throw Error(concat(place, ": expected key, loglikelihood, is_greedy and text, found ",
                       line.dump(-1, ' ', false, Json::error_handler_t::replace)));
  }
}

}  // namespace

Json folder_identity(const fs::path& folder) {
  const ModelFiles files(folder);
  Json listed = Json::object();
  for (const fs::path& file : files.paths()) {
    if (!files.gguf() && !tells_models_apart(file)) continue;
    struct stat status {};
    HYPENET_CHECK(::stat(file.c_str(), &status) == 0, file.string(),
                  ": cannot read: ", std::strerror(errno));
    listed[file.filename().string()] = {{"bytes", status.st_size},
                                        {"modified", status.st_mtim.tv_sec}};
  }
  return {{"config", files.json("config.json")}, {"files", listed}};
}

Journal::Journal(const fs::path& path, const Json& identity,
                 const std::shared_ptr<Communicator>& ranks) {
  const Json header = {{kMark, kVersion}, {"identity", identity}};
  std::string text;
  if (ranks->ranks().is_first()) {
    log_.emplace(path);
    text = log_->whole_lines(header, "hypenet eval");
    read(path, text, header);  // before anything is cut: the file may be another's
    log_->cut(text.size());
    if (text.empty()) append(header);
  }
  text = ranks->gather_bytes(text).front();
  if (!log_) read(path, text, header);
}

void Journal::read(const fs::path& path, const std::string& text, const Json& header) {
  int64_t number = 1;
  for (size_t at = 0; at < text.size(); ++number) {
    const size_t end = text.find('\n', at);
    const std::string place = concat(path.string(), ":", number);
    const Json line = parse_json(std::string_view(text).substr(at, end - at), place);
    HYPENET_CHECK(line.is_object(), place, ": expected an object, found ", json_kind(line));
    at = end + 1;
    if (number == 1) {
      // Not on other ranks: the files of their hosts may be copies of another time.
      const std::string difference = log_ ? first_difference(header, line) : "";
      HYPENET_CHECK(difference.empty(), path.string(), ": answers of another model or setting (",
                    difference, "); remove the file or choose another --out");
      continue;
    }
    HYPENET_CHECK(line.contains("key") && line["key"].is_string(), place,
                  ": expected the key of a request, found none");
    answers_[line["key"].get<std::string>()] = read_answer(line, place);
  }
}

const EvalAnswer* Journal::find(const std::string& key) const {
  const auto found = answers_.find(key);
  return found == answers_.end() ? nullptr : &found->second;
}

void Journal::add(const std::string& key, const EvalAnswer& answer) {
  if (log_) {
    append({{"key", key},
            {"loglikelihood", answer.loglikelihood},
            {"is_greedy", answer.is_greedy},
            {"text", answer.text}});
  }
  answers_[key] = answer;
}

void Journal::append(const Json& line) {
  log_->append(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace hypenet
