%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% The member list: kept in a file, so that a member that is down shows as stopped, also after a restart.
%% A node joins its seeds by itself, unless it was told to leave.
-module(ekka_cluster).
-behaviour(gen_server).
-export([start_link/0, members/0, join/1, leave/0, force_leave/1, merge/1, forget/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(TICK, 1000).
-define(CALL, 10000).

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

members() ->
    ets:lookup_element(?MODULE, members, 2).

join(Node) when Node =:= node() ->
    {error, {cannot_join_with_self, Node}};
join(Node) ->
    case lists:member(Node, members()) of
        true -> {error, {already_in_cluster, Node}};
        false -> gen_server:call(?MODULE, {join, Node}, 2 * ?CALL)
    end.

leave() ->
    case members() -- [node()] of
        [] -> {error, node_not_in_cluster};
        _ -> gen_server:call(?MODULE, leave, 2 * ?CALL)
    end.

force_leave(Node) ->
    case lists:member(Node, members()) of
        true ->
            [gen_server:cast({?MODULE, N}, {forget, Node}) || N <- members()],
            ok;
        false ->
            {error, node_not_in_cluster}
    end.

%% Called on a peer: takes these members in and answers with everyone known.
merge(Nodes) ->
    gen_server:call(?MODULE, {merge, Nodes}, ?CALL).

forget(Node) ->
    gen_server:cast(?MODULE, {forget, Node}).

init([]) ->
    ?MODULE = ets:new(?MODULE, [named_table, protected, {read_concurrency, true}]),
    {Members, Auto} = load(),
    State = #{auto => Auto},
    ets:insert(?MODULE, {members, lists:usort([node() | Members])}),
    self() ! tick,
    {ok, State}.

handle_call({join, Node}, _From, State) ->
    case merge_with(Node) of
        ok -> {reply, ok, save(State#{auto := true})};
        Error -> {reply, Error, State}
    end;
handle_call({merge, Nodes}, _From, State) ->
    {reply, members(), add(Nodes, State)};
handle_call(leave, _From, State) ->
    [gen_server:cast({?MODULE, N}, {forget, node()}) || N <- members(), N =/= node()],
    ets:insert(?MODULE, {members, [node()]}),
    {reply, ok, save(State#{auto := false})}.

handle_cast({add, Nodes}, State) ->
    {noreply, add(Nodes, State)};
handle_cast({forget, Node}, State) when Node =:= node() ->
    ets:insert(?MODULE, {members, [node()]}),
    {noreply, save(State#{auto := false})};
handle_cast({forget, Node}, State) ->
    ets:insert(?MODULE, {members, members() -- [Node]}),
    {noreply, save(State)}.

handle_info(tick, State) ->
    Wanted = case State of
                 #{auto := true} -> seeds() -- members();
                 _ -> []
             end,
    [merge_with(N) || N <- Wanted, N =/= node()],
    %% Members that were down may be back: connecting is enough, both know each other already.
    [connect(N) || N <- members() -- [node() | nodes()]],
    erlang:send_after(?TICK, self(), tick),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.

%% The call to the peer must not run in this process: two nodes that join each other at the same moment
%% would wait for one another.
merge_with(Node) ->
    Self = self(),
    Mine = members(),
    spawn(fun() ->
                  try erpc:call(Node, ?MODULE, merge, [Mine], ?CALL) of
                      Theirs -> gen_server:cast(Self, {add, Theirs})
                  catch
                      _:_ -> ok
                  end
          end),
    case lists:member(Node, nodes()) orelse net_kernel:connect_node(Node) of
        true -> ok;
        _ -> {error, {node_down, Node}}
    end.

connect(Node) ->
    spawn(fun() -> net_kernel:connect_node(Node) end).

add(Nodes, State) ->
    case lists:usort(members() ++ Nodes) of
        Same when Same =:= [] -> State;
        All ->
            case All =:= members() of
                true ->
                    State;
                false ->
                    New = All -- members(),
                    ets:insert(?MODULE, {members, All}),
                    %% Tell the others, so that a chain of seeds ends in one cluster.
                    [gen_server:cast({?MODULE, N}, {add, All}) || N <- All, N =/= node(), New =/= []],
                    save(State)
            end
    end.

seeds() ->
    application:get_env(ekka, seeds, []).

file() ->
    filename:join([code:root_dir(), application:get_env(ekka, data_dir, "data"), "cluster.members"]).

load() ->
    case file:consult(file()) of
        {ok, [{Node, Members, Auto}]} when Node =:= node() -> {Members, Auto};
        _ -> {[], true}
    end.

save(State = #{auto := Auto}) ->
    ok = filelib:ensure_dir(file()),
    %% A full disk must not take the cluster down.
    _ = file:write_file(file(), io_lib:format("~p.~n", [{node(), members(), Auto}])),
    State.
