# Which engine can be built here. To be read by other scripts, from the repository's folder.
#
#   orleans_restores PROJECT   0 when the Orleans packages restore for it; else $engine_reason says why not.
#
# What was found is kept in artifacts/: the packages are looked for once for each set of versions. Remove the file to look again.

orleans_restores() {
  local project=$1 versions kept found log
  versions=$(cksum Directory.Packages.props Directory.Build.targets | cksum | cut -d ' ' -f 1)
  kept="artifacts/engine-$project"
  if [ -f "$kept" ] && [ "$(sed -n 1p "$kept")" = "$versions" ]; then
    found=$(sed -n 2p "$kept")
  else
    mkdir -p artifacts
    log=$(mktemp)
    if dotnet restore "$project" -p:Engine=Orleans --nologo -v quiet >"$log" 2>&1; then
      found=yes
    else
      found=$(grep -o 'error [A-Z]*[0-9]*: [^[]*' "$log" | head -n 1 | sed 's/^error //; s/ *$//')
      found=${found:-"dotnet restore failed"}
    fi
    rm -f "$log"
    printf '%s\n%s\n' "$versions" "$found" >"$kept"
  fi
  engine_reason=$found
  [ "$found" = yes ]
}
