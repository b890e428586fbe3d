%% -*- erlang -*-
%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors
%%
%% The Erlang half of the build: build.escript SOURCES STAGE EDITION DESCRIPTION VERSION...
%% where a VERSION is VERSION,ERTS,GENERATION,FLAG,FLAG...: ERTS is said to be its number, GENERATION is 19 where the
%% code is the newest that there is and less where it is older, and a FLAG is a macro for our modules.
%% Leaves STAGE/lib (every application in every version), STAGE/releases/<V>/ and STAGE/cuttlefish-<V>.
%%
%% build.escript compile SCRIPT...: leaves SCRIPT.compiled for each, which does what the script does and starts sooner.
-mode(compile).

-define(OTP_APPS, [kernel, stdlib, sasl, crypto]).

main(["compile" | Scripts]) ->
    [compile_script(Script) || Script <- Scripts];
main([Sources, Stage, Edition, Description | Specs]) ->
    Versions = [specify(string:lexemes(Spec, ",")) || Spec <- Specs],
    put(edition, Edition),
    [otp_app(App, Stage) || App <- ?OTP_APPS],
    [our_apps(Sources, Stage, Description, V, Versions) || V <- Versions],
    [release(Stage, V) || V <- Versions],
    [relup(Stage, V, before(V, Versions)) || V <- Versions],
    [cuttlefish(Sources, Stage, V) || V <- Versions],
    io:format("~s~n", [erlang:system_info(system_architecture)]).

compile_script(Path) ->
    Name = filename:basename(Path),
    %% What a trace says of where it is.
    {ok, Forms} = epp:parse_file(Path, [{source_name, "/opt/emqx/bin/" ++ Name}]),
    Module = list_to_atom(lists:flatten(string:replace(Name, ".", "_")) ++ "__escript__0"),
    [File | Rest] = [F || F <- Forms, not is_mode(F)],
    {ok, Module, Beam} = compile:forms([File, {attribute, 1, module, Module}, {attribute, 1, export, [{main, 1}]} | Rest],
                                       [deterministic, no_debug_info, report, warnings_as_errors]),
    {ok, Binary} = escript:create(binary, [shebang, {beam, Beam}]),
    ok = file:write_file(Path ++ ".compiled", Binary).

is_mode({attribute, _, mode, _}) -> true;
is_mode(_) -> false.

specify([V, Erts, Generation | Flags]) ->
    put(V, #{erts => Erts, generation => list_to_integer(Generation), flags => [list_to_atom(F) || F <- Flags]}),
    V.

generation(V) ->
    maps:get(generation, get(V)).

%% The Enterprise edition is told by this one.
our_names() ->
    [ekka, esockd, emqx | [emqx_license || get(edition) =:= "ee"]].

%% A version knows the ones before it, as in EMQX: it can come from them and go back to them.
before(V, Versions) ->
    lists:takewhile(fun(Other) -> Other =/= V end, Versions).

%% Applications of Erlang itself: what runs, no debug information, no documentation.
otp_app(App, Stage) ->
    _ = application:load(App),
    {ok, Version} = application:get_key(App, vsn),
    Dir = code:lib_dir(App),
    To = filename:join([Stage, "lib", atom_to_list(App) ++ "-" ++ Version]),
    [copy(filename:join(Dir, F), filename:join(To, F))
     || Pattern <- ["ebin/*", "priv/lib/*.so"], F <- filelib:wildcard(Pattern, Dir)],
    strip(To).

strip(Dir) ->
    %% The release handler compares the version in the attributes.
    Files = filelib:wildcard(filename:join(Dir, "ebin/*.beam")),
    {ok, _} = beam_lib:strip_files(Files, ["Attr"]),
    lists:foreach(fun inflate/1, Files).

%% What was stripped is compressed, and every virtual machine would inflate it at its start.
inflate(File) ->
    {ok, Compressed} = file:read_file(File),
    ok = file:write_file(File, zlib:gunzip(Compressed)).

copy(From, To) ->
    ok = filelib:ensure_dir(To),
    {ok, _} = file:copy(From, To),
    {ok, Info} = file:read_file_info(From),
    ok = file:change_mode(To, element(8, Info)).

%% Ours

app_version(emqx, V) -> V;
app_version(ekka, _) -> "0.8.1.11";
app_version(esockd, V) -> case generation(V) >= 19 of true -> "5.8.10"; false -> "5.8.9" end;
app_version(emqx_license, _) -> "4.4.0".

our_apps(Sources, Stage, Description, V, Versions) ->
    [our_app(App, Sources, Stage, Description, V, Versions) || App <- our_names()].

our_app(App, Sources, Stage, Description, V, Versions) ->
    AppVersion = app_version(App, V),
    Dir = filename:join([Sources, "apps", atom_to_list(App)]),
    Ebin = filename:join([Stage, "lib", atom_to_list(App) ++ "-" ++ AppVersion, "ebin"]),
    ok = filelib:ensure_dir(Ebin ++ "/"),
    Modules = [M || M <- modules(Dir), present(M, V)],
    [{ok, M} = compile:file(filename:join(Dir, atom_to_list(M)),
                            [deterministic, no_debug_info, return_errors, report, warnings_as_errors, {outdir, Ebin},
                             {d, 'VSN', V}, {d, 'PATCH', generation(V)}, {d, 'DESCRIPTION', Description},
                             {d, 'ERLANG_LIB', code:lib_dir()}
                             | [{d, F} || F <- maps:get(flags, get(V))]])
     || M <- Modules],
    strip(filename:dirname(Ebin)),
    {ok, [{application, App, Keys}]} = file:consult(filename:join(Dir, atom_to_list(App) ++ ".app.src")),
    New = lists:keystore(modules, 1, lists:keystore(vsn, 1, Keys, {vsn, AppVersion}), {modules, Modules}),
    write(filename:join(Ebin, atom_to_list(App) ++ ".app"), [{application, App, New}]),
    Others = lists:usort([app_version(App, O) || O <- before(V, Versions)]) -- [AppVersion],
    case Others of
        [] -> ok;
        _ ->
            write(filename:join(Ebin, atom_to_list(App) ++ ".appup"),
                  [{AppVersion, [{O, up(App, O, AppVersion)} || O <- Others],
                    [{O, down(App, O, AppVersion)} || O <- Others]}])
    end.

modules(Dir) ->
    [list_to_atom(filename:basename(F, ".erl")) || F <- lists:sort(filelib:wildcard("*.erl", Dir))].

present(emqx_const_v2, V) -> generation(V) >= 19;
present(_, _) -> true.

%% brutal before, soft after: clients that are idle keep the old code through one switch, and are ended by the next.
load(Module) -> {load_module, Module, brutal_purge, soft_purge, []}.

up(esockd, _, _) ->
    [load(esockd)];
up(emqx, From, To) ->
    [{add_module, emqx_const_v2} || present(emqx_const_v2, To), not present(emqx_const_v2, From)] ++ common(To) ++
        [{delete_module, emqx_const_v2} || present(emqx_const_v2, From), not present(emqx_const_v2, To)].

down(esockd, _, _) ->
    [load(esockd)];
down(emqx, To, From) ->
    up(emqx, From, To).

common(Target) ->
    [{apply, {emqx_faults, relup, [Target]}}] ++
        [load(M) || M <- [emqx_app, emqx_hooks, emqx_connection]] ++
        [{update, emqx_cm, 5000, {advanced, []}, brutal_purge, soft_purge, []}].

release(Stage, V) ->
    Dir = filename:join([Stage, "releases", V]),
    Apps = [{kernel, permanent}, {stdlib, permanent}, {sasl, permanent}, {crypto, permanent},
            {esockd, permanent}, {ekka, permanent}, {emqx, permanent}
            | [{A, permanent} || A <- our_names() -- [ekka, esockd, emqx]]],
    Rel = fun(Which) ->
                  {release, {"emqx", V}, {erts, maps:get(erts, get(V))},
                   [{A, vsn(A, V), T} || {A, T} <- Which]}
          end,
    write(filename:join(Dir, "emqx.rel"), [Rel(Apps)]),
    write(filename:join(Dir, "start_clean.rel"), [Rel(lists:sublist(Apps, 2))]),
    script(Stage, Dir, "emqx", "start", []),
    script(Stage, Dir, "start_clean", "start_clean", []),
    script(Stage, Dir, "start_clean", "no_dot_erlang", [no_dot_erlang]),
    [file:delete(filename:join(Dir, F)) || F <- ["start_clean.rel" | filelib:wildcard("*.script", Dir)]],
    %% What the release handler makes of a release that was installed by unzipping.
    {release, Name, Erts, Used} = Rel(Apps),
    write(filename:join(Dir, "RELEASES"),
          [[{release, element(1, Name), V, element(2, Erts),
             [{A, AV, "./lib/" ++ atom_to_list(A) ++ "-" ++ AV} || {A, AV, _} <- Used], permanent}]]).

vsn(App, V) ->
    case lists:member(App, our_names()) of
        true ->
            app_version(App, V);
        false ->
            _ = application:load(App),
            {ok, Version} = application:get_key(App, vsn),
            Version
    end.

script(Stage, Dir, Rel, Name, Options) ->
    {ok, _, _} = systools:make_script(filename:join(Dir, Rel),
                                      [silent, {path, paths(Stage)}, {script_name, Name}, {outdir, Dir}, no_warn_sasl | Options]).

relup(Stage, V, Others) ->
    relup(Stage, V, Others, "relup"),
    [relup(Stage, V, tl(Others), "relup.hop") || Others =/= []].

relup(Stage, V, Others, Name) ->
    File = fun(X) -> filename:join([Stage, "releases", X, "emqx"]) end,
    {ok, Relup, _, _} = systools:make_relup(File(V), [File(O) || O <- Others], [File(O) || O <- Others],
                                            [silent, noexec, {path, paths(Stage)}]),
    write(filename:join([Stage, "releases", V, Name]), [hot(Relup)]).

%% Another ERTS would restart the virtual machine; EMQX takes that out of its own relups, and so do we.
hot({V, Up, Down}) ->
    Restarts = [restart_new_emulator, restart_emulator],
    {V, [{O, D, Is -- Restarts} || {O, D, Is} <- Up], [{O, D, Is -- Restarts} || {O, D, Is} <- Down]}.

paths(Stage) ->
    [filename:join([Stage, "lib", "*", "ebin"])].

%% An archive, so that a torn copy does not start; and long, so that tearing it is likely.
cuttlefish(Sources, Stage, V) ->
    {ok, cuttlefish_escript, Beam} = compile:file(filename:join([Sources, "cuttlefish", "cuttlefish_escript"]),
                                                  [binary, deterministic, report, warnings_as_errors]),
    rand:seed(exsss, erlang:phash2(V)),
    Files = [{"cuttlefish_escript.beam", Beam}, {"filler", rand:bytes(190000)}],
    {ok, Binary} = escript:create(binary, [shebang, {comment, "cuttlefish of release " ++ V},
                                           {emu_args, "-escript main cuttlefish_escript"}, {archive, Files, []}]),
    ok = file:write_file(filename:join(Stage, "cuttlefish-" ++ V), Binary).

write(File, Terms) ->
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, ["%% coding: utf-8\n", [io_lib:format("~p.~n", [T]) || T <- Terms]]).
