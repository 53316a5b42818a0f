// Sessions: named prefixes on disk, saved from an engine and put back into one.
#pragma once

#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "engine/engine.h"
#include "serve/api/api_error.h"
#include "serve/session_facts.h"

namespace hypenet {

/// What a file holds, as lists of sessions tell it.
struct SessionAbout {
  int64_t tokens = 0, saved_tokens = 0, snapshots = 0, bytes = 0, created = 0;
  bool fits = false;  // this server
};

/// Files of one folder. Every method may be called from any thread; none throws anything but
/// ApiError.
class Sessions {
 public:
  /// An empty folder: no sessions, and every method throws sessions_disabled. Removes what earlier
  /// runs left half-written.
  Sessions(std::filesystem::path folder, SessionFacts facts);

  bool is_enabled() const { return !folder_.empty(); }

  /// Marks the session as being written until the guard ends. Throws session_busy.
  class Writing;
  Writing begin_writing(const std::string& name);

  /// Writes what an engine gave; `tokens`: of the whole prompt; `messages`: what it was made of,
  /// null where nobody knows. Returns what it wrote.
  SessionAbout save(const std::string& name, const SavedPrefix& prefix, int64_t tokens,
                    Json messages = nullptr);

  /// Reads a session back. Throws session_not_found, session_corrupt and session_mismatch.
  SavedPrefix load(const std::string& name, bool as_nearest) const;

  /// The messages it was saved with; null: without. Throws as `load` does.
  Json messages(const std::string& name) const;

  /// {"object":"list","data":[...]}, and one of them.
  Json list() const;
  Json about(const std::string& name) const;
  void remove(const std::string& name);

 private:
  std::filesystem::path path_of(const std::string& name) const;
  std::filesystem::path known_path(const std::string& name) const;
  void check_facts(const Json& head, bool as_nearest) const;

  std::filesystem::path folder_;
  SessionFacts facts_;
  mutable std::mutex mutex_;
  std::set<std::string> writing_;
};

class Sessions::Writing {
 public:
  Writing(Sessions& sessions, std::string name) : sessions_(&sessions), name_(std::move(name)) {}
  Writing(Writing&& other) noexcept
      : sessions_(std::exchange(other.sessions_, nullptr)), name_(std::move(other.name_)) {}
  Writing& operator=(Writing&&) = delete;
  ~Writing();

 private:
  Sessions* sessions_;
  std::string name_;
};

}  // namespace hypenet
