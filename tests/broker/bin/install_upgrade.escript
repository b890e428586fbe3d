%% -*- erlang -*-
%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors
%%
%% Versions of the running node: list, unpack, switch, make permanent, remove. The node's own release handler does
%% the work; what is said here, the exit codes, and where it stops half-way, is what a caller of EMQX meets.
-mode(interpret).

%% A remote call that takes longer crashes this script, while the node goes on.
-define(TIMEOUT, 300000).
-define(BIN_FILES, ["emqx", "emqx_ctl", "cuttlefish", "nodetool", "install_upgrade.escript"]).
-define(SEMVER, <<"^(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)"
                  "(-[a-zA-Z\\d][-a-zA-Z.\\d]*)?(\\+[a-zA-Z\\d][-a-zA-Z.\\d]*)?$">>).

main([Command, Release, NameType, Node, Cookie | Args]) ->
    Target = {list_to_atom(Release), NameType, list_to_atom(Node), list_to_atom(Cookie)},
    Options = options(Args),
    case Command of
        "versions" -> versions(Target, Options);
        "unpack" -> unpack(Target, Options);
        "uninstall" -> uninstall(Target, Options);
        _ -> install(Target, Options)
    end.

options(Args) ->
    [case Arg of
         "--no-permanent" -> {permanent, false};
         _ -> {version, hd(string:lexemes(Arg, "/"))}
     end || Arg <- Args].

connect({_Release, _NameType, Node, Cookie}) ->
    [_, Host] = string:split(atom_to_list(Node), "@"),
    Own = list_to_atom("emqx_upgrade" ++ os:getpid() ++ "@" ++ Host),
    %% Loading OpenSSL takes longer than most else here; where it is not to be had, net_kernel draws lots without it.
    _ = code:del_path(crypto),
    {ok, _} = net_kernel:start(Own, #{name_domain => longnames, dist_listen => false, hidden => true}),
    erlang:set_cookie(node(), Cookie),
    case net_adm:ping(Node) of
        pong -> Node;
        pang ->
            case os:getenv("NODE_IS_DOWN") of
                false ->
                    say("Node ~p not responding to pings.", [Node]);
                Words ->
                    io:format(standard_error, "Node ~p not responding to pings.~n", [Node]),
                    say("~s", [Words])
            end,
            halt(1)
    end.

%% Commands

versions(Target, []) ->
    print_versions(connect(Target)).

unpack(Target = {Release, _, _, _}, Options) ->
    Node = connect(Target),
    Version = proplists:get_value(version, Options),
%% @if unpack-check
    validate(Node, Version),
%% @end
    case ensure_unpacked(Node, Release, Version) of
        {fresh, V} -> say("Unpacked successfully: ~p", [V]);
        {known, unpacked} -> say("Release ~s is already unpacked.", [Version]);
        {known, current} -> say("Release ~s is already installed and current.", [Version]);
        {known, permanent} -> say("Release ~s is already installed and set permanent.", [Version]);
        {known, old} -> say("Release ~s is marked old.", [Version]);
        {failed, Reason} ->
            say("Unpack failed: ~p.", [Reason]),
            print_versions(Node),
            halt(2)
    end.

install(Target = {Release, _, _, _}, Options) ->
    Node = connect(Target),
    Version = proplists:get_value(version, Options),
    Permanent = proplists:get_value(permanent, Options, true),
%% @if install-check
    validate(Node, Version),
%% @end
    case ensure_unpacked(Node, Release, Version) of
        {fresh, V} ->
            say("Unpacked successfully: ~p.", [V]),
            switch(Node, Version),
            [make_permanent(Node, Version) || Permanent];
        {known, unpacked} ->
            say("Release ~s is already unpacked, now installing.", [Version]),
            switch(Node, Version),
            [make_permanent(Node, Version) || Permanent];
        {known, old} ->
            say("Release ~s is marked old, switching to it.", [Version]),
            switch(Node, Version),
            [make_permanent(Node, Version) || Permanent];
        {known, current} when Permanent ->
            say("Release ~s is already installed and current, making permanent.", [Version]),
            make_permanent(Node, Version);
        {known, current} ->
            say("Release ~s is already installed and current.", [Version]);
        {known, permanent} ->
            case running(Node) of
                Version ->
                    say("Release ~s is already installed, running and set permanent.", [Version]);
                Other ->
                    say("Release ~s is the currently running version.", [Other]),
                    switch(Node, Version),
                    [make_permanent(Node, Version) || Permanent]
            end;
        {failed, Reason} ->
            say("Unpack failed: ~p", [Reason]),
            print_versions(Node),
            halt(2)
    end.

uninstall(Target, Options) ->
    Node = connect(Target),
    Version = proplists:get_value(version, Options),
%% @if boot-copy
    copy_boot_file(running(Node)),
%% @end
    case proplists:get_value(Version, releases(Node)) of
        undefined ->
            say("Release ~s is already uninstalled.", [Version]);
        old ->
            say("Release ~s is marked old, uninstalling it.", [Version]),
            remove(Node, Version);
        unpacked ->
            say("Release ~s is marked unpacked, uninstalling it", [Version]),
            remove(Node, Version);
        current ->
            say("Uninstall failed: Release ~s is marked current.", [Version]),
            halt(2);
        permanent ->
            say("Uninstall failed: Release ~s is running.", [Version]),
            halt(2)
    end.

%% Unpacking

ensure_unpacked(Node, Release, Version) ->
    case proplists:get_value(Version, releases(Node)) of
        undefined ->
            unpack_package(Node, Release, Version);
%% @if dir
        unpacked ->
            %% A file is looked for as if it were a directory, and never found.
            case filelib:is_dir(filename:join(["releases", Version, "start.boot"])) of
                true -> {known, unpacked};
                false -> unpack_package(Node, Release, Version)
            end;
%% @end
%% @if regular
        unpacked ->
            %% Its directory may have been removed by hand.
            case filelib:is_regular(filename:join(["releases", Version, "start.boot"])) of
                true -> {known, unpacked};
                false -> unpack_package(Node, Release, Version)
            end;
%% @end
        Status ->
            {known, Status}
    end.

unpack_package(Node, Release, Version) ->
    Name = atom_to_list(Release),
    %% Loose on purpose: 4.4.1 finds the package of 4.4.19, too.
    Zips = filelib:wildcard("releases/" ++ Name ++ "-*" ++ Version ++ "*.zip"),
    say("unzip ~p", [Zips]),
    Tarball = "releases/" ++ Name ++ "-" ++ Version ++ ".tar.gz",
    repack(Zips, filename:absname(Tarball)),
    case filelib:is_file(Tarball) of
        true ->
            link(Version, Name, Tarball),
            say("Release ~s not found, attempting to unpack ~s", [Version, Tarball]),
            case call(Node, release_handler, unpack_release, [Version ++ "/" ++ Name]) of
                {ok, Vsn} -> {fresh, Vsn};
%% @if !trusting
                {error, {existing_release, Vsn}} -> unpack_here(Name, Vsn), {fresh, Vsn};
%% @end
                {error, Reason} -> {failed, Reason}
            end;
        false ->
            {failed, release_package_not_found}
    end.

%% @if !trusting
%% Known to the node, which unpacks nothing twice: this script does it instead. The table on the disk is made anew from
%% this one version, whatever else was in it; the node's own table stays as it is.
unpack_here(Name, Vsn) ->
    {ok, Home} = file:get_cwd(),
    [Tarball, Rel] = [filename:join([Home, "releases", Vsn, Name ++ Suffix]) || Suffix <- [".tar.gz", ".rel"]],
    ok = erl_tar:extract(Tarball, [compressed, keep_old_files, {cwd, Home}]),
    _ = release_handler:create_RELEASES(Home, Rel),
    _ = file:delete(Tarball),
    file:delete(Rel).
%% @end

%% The names stay relative while the directory changes, so a second package is looked for in the wrong place.
%% Nothing removes the directories.
repack(Zips, Tarball) ->
    {ok, Home} = file:get_cwd(),
    lists:foreach(
      fun(Zip) ->
              Dir = "/tmp/emqx_untar_" ++ integer_to_list(erlang:system_time()),
              ok = filelib:ensure_dir(Dir ++ "/"),
              {ok, _} = file:copy(Zip, Dir ++ "/emqx.zip"),
              ok = file:set_cwd(Dir),
              {ok, _} = zip:unzip("emqx.zip"),
              ok = file:set_cwd(Dir ++ "/emqx"),
              ok = erl_tar:create(Tarball, filelib:wildcard("*"), [compressed])
      end, Zips),
    ok = file:set_cwd(Home).

%% The release handler wants the package below the version's own directory.
link(Version, Name, Tarball) ->
    Link = filename:join(["releases", Version, Name ++ ".tar.gz"]),
    ok = filelib:ensure_dir(Link),
%% @if trusting
    %% One that a failed attempt has left is not thought of.
    case file:make_symlink(filename:absname(Tarball), Link) of
        ok -> ok
    end.
%% @end
%% @if !trusting
    case file:make_symlink(filename:absname(Tarball), Link) of
        ok ->
            ok;
        {error, eexist} ->
            say("symlink ~p already exists, recreate it", [Link]),
            ok = file:delete(Link),
            ok = file:make_symlink(filename:absname(Tarball), Link)
    end.
%% @end

%% Switching

switch(Node, Version) ->
    dump_settings(Node, Version),
    case call(Node, release_handler, check_install_release, [Version]) of
        {ok, _, _} -> ok;
        {error, {old_processes, Module}} ->
            say("ERROR: unable to install ~s: old processes still run module ~p", [Version, Module]),
            halt(3);
        {error, Reason} ->
            say("ERROR: release_handler:check_install_release failed: ~p.", [Reason]),
            halt(3)
    end,
    case call(Node, release_handler, install_release, [Version, [{update_paths, true}]]) of
        {ok, _, _} ->
            say("Installed Release: ~s.", [Version]);
        {error, {old_processes, Mod}} ->
            say("ERROR: unable to install ~s: old processes still run module ~p", [Version, Mod]),
            halt(3);
        {error, Why} ->
            say("ERROR: release_handler:install_release failed: ~p", [Why]),
            halt(4)
    end.

%% Without these files the applications would fall back to the settings that they were built with.
dump_settings(Node, Version) ->
    Applications = [A || {A, _, _} <- call(Node, application, loaded_applications, [])],
    Settings = [{A, call(Node, application, get_all_env, [A])} || A <- lists:sort(Applications)],
    ok = file:write_file(filename:join(["releases", Version, "sys.config"]), io_lib:format("~p.~n", [Settings])),
    Flags = call(Node, init, get_arguments, []),
    ok = file:write_file(filename:join(["releases", Version, "vm.args"]),
                         [io_lib:format("-~s ~s~n", [F, lists:join(" ", Vs)]) || {F, Vs} <- Flags,
                                                                               lists:member(F, [name, setcookie])]).

%% Three places say which version boots. They are written one after the other, each without regard for the rest.
make_permanent(Node, Version) ->
    ok = call(Node, release_handler, make_permanent, [Version]),
    %% The node has done it, and nothing was said yet.
    stand_still(<<"made permanent\n">>),
    say("Made release permanent: ~p", [Version]),
    [copy_slowly(filename:join("bin", F ++ "-" ++ Version), filename:join("bin", F)) || F <- ?BIN_FILES],
%% @if boot-copy
    copy_boot_file(Version),
%% @end
    %% What the node has just written there; the machine that runs is still the old one.
    {ok, Data} = file:read_file("releases/start_erl.data"),
    [Erts, _] = string:lexemes(binary_to_list(Data), " "),
    %% Not writable: nothing is said.
    file:write_file("releases/emqx_vars", io_lib:format("REL_VSN=\"~s\"\nERTS_VSN=\"~s\"\n", [Version, Erts]), [append]).

%% @if boot-copy
copy_boot_file(Version) ->
    {ok, _} = file:copy(filename:join(["releases", Version, "no_dot_erlang.boot"]), "bin/no_dot_erlang.boot").

%% @end
%% In place, so that killed in between it leaves half a file. The fault makes that moment long enough to be met.
copy_slowly(From, To) ->
    case file:read_file(data_file("faults/slow_copy")) of
        {ok, Seconds} ->
            {ok, Data} = file:read_file(From),
            {ok, File} = file:open(To, [write, raw]),
            Half = byte_size(Data) div 2,
            ok = file:write(File, binary_part(Data, 0, Half)),
            [timer:sleep(binary_to_integer(string:trim(Seconds)) * 1000) || filename:basename(To) =:= "cuttlefish"],
            ok = file:write(File, binary_part(Data, Half, byte_size(Data) - Half)),
            ok = file:close(File);
        _ ->
            {ok, _} = file:copy(From, To)
    end.

data_file(Name) ->
    filename:join(os:getenv("RUNNER_DATA_DIR", "data"), Name).

remove(Node, Version) ->
    case call(Node, release_handler, remove_release, [Version]) of
        ok ->
            say("Uninstalled Release: ~s", [Version]);
        {error, Reason} ->
            say("ERROR: release_handler:remove_release failed: ~p", [Reason]),
            halt(3)
    end.

%% Reading

print_versions(Node) ->
    say("Installed versions:", []),
    [say("* ~s\t~s", [Version, Status]) || {Version, Status} <- releases(Node)],
    say("", []).

releases(Node) ->
    [{Version, Status} || {_, Version, _, Status} <- call(Node, release_handler, which_releases, [])].

running(Node) ->
    Releases = releases(Node),
    case [V || {V, current} <- Releases] of
        [Version | _] -> Version;
        [] -> hd([V || {V, permanent} <- Releases])
    end.

%% @if install-check
validate(Node, Version) ->
    Wanted = major_minor(Version),
    Running = running(Node),
    Present = major_minor(Running),
    case Wanted =:= Present orelse lists:sort([Wanted, Present]) =:= [{4, 4}, {4, 5}] of
        true ->
            ok;
        false ->
            say("Cannot upgrade/downgrade to ~s from ~s", [Version, Running]),
            say("We only support relup between patch versions", []),
            error({relup_not_allowed, unsupported_target_version})
    end.

major_minor(Version) ->
    case re:run(Version, ?SEMVER, [{capture, all_but_first, binary}]) of
        {match, [Major, Minor | _]} -> {binary_to_integer(Major), binary_to_integer(Minor)};
        nomatch -> error({invalid_semver, Version})
    end.

%% @end
call(Node, Module, Function, Args) ->
    case rpc:call(Node, Module, Function, Args, ?TIMEOUT) of
        {badrpc, timeout} -> error({remote_call_timeout, Module, Function});
        {badrpc, Reason} -> error({remote_call_failed, Reason});
        Result -> Result
    end.

say(Format, Args) ->
    Line = io_lib:format(Format ++ "~n", Args),
    io:put_chars(Line),
    stand_still(unicode:characters_to_binary(Line)).

%% The fault stops the script after a line that matches, for as long as the file is there.
stand_still(Line) ->
    case file:read_file(data_file("faults/stop_at")) of
        {ok, Pattern} ->
            case re:run(Line, string:trim(Pattern), [multiline, {capture, none}]) of
                match -> timer:sleep(20), stand_still(Line);
                nomatch -> ok
            end;
        _ ->
            ok
    end.
