// The names that a server answers to.
#include "serve/api/served_model.h"

#include <algorithm>

namespace hypenet {

bool ServedModel::serves(std::string_view model) const {
  return model == name || std::ranges::find(aliases, model) != aliases.end();
}

}  // namespace hypenet
