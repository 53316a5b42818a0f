// The file of finished answers that makes an evaluation restartable: JSON lines, the first of which
// says which model gave them.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/json.h"
#include "base/line_log.h"
#include "eval/request.h"
#include "ranks/ranks.h"

namespace hypenet {

/// What tells one model folder from another, and a folder from itself after its weights changed:
/// config.json, and name, size and time of every weights and tokenizer file.
Json folder_identity(const std::filesystem::path& folder);

class Journal {
 public:
  /// Reads the answers of a file, or starts it. A last line without an end (a killed process) is
  /// cut off. Throws Error when the answers are of another identity, the file is no journal, or
  /// another process has it open.
  /// Of several ranks, all of which come here, the first one has the file; all know its answers.
  Journal(const std::filesystem::path& path, const Json& identity,
          const std::shared_ptr<Communicator>& ranks = std::make_shared<OneProcess>());

  /// The answer with this key (encode.h, request_key), or null.
  const EvalAnswer* find(const std::string& key) const;

  /// Appends an answer; it outlives this process from then on.
  void add(const std::string& key, const EvalAnswer& answer);

 private:
  void read(const std::filesystem::path& path, const std::string& text, const Json& header);
  void append(const Json& line);

  std::optional<LineLog> log_;  // on the first rank
  std::unordered_map<std::string, EvalAnswer> answers_;
};

}  // namespace hypenet
